"""An installation below a folder of the test, made by the real installer, with the program of this checkout."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

from dataflow.testing.mongo import MongoServer
from tests.deploy.units import ROOT, SYSTEMD

Install = Callable[..., subprocess.CompletedProcess[str]]

# Makes a "virtual environment" whose interpreter is this one, with the checkout; pip only writes down what it was told.
PYTHON = """#!/bin/sh
if [ "$1 $2" = "-m venv" ]; then
  mkdir -p "$3/bin" && cp "$0" "$3/bin/python"
  printf '#!/bin/sh\\nPYTHONPATH={checkout} exec {python} -P -m dataflow "$@"\\n' > "$3/bin/dataflow"
  chmod +x "$3/bin/dataflow"
elif [ "$1 $2" = "-m pip" ]; then
  echo "$@" >> {log}
else
  PYTHONPATH={checkout} exec {python} "$@"
fi
"""


@pytest.fixture
def pip_log(tmp_path: Path) -> Path:
    """What pip was told, a line per call."""
    return tmp_path / "pip.log"


@pytest.fixture
def install(tmp_path: Path, pip_log: Path) -> Install:
    """Run the installer into `tmp_path/root`, with these arguments besides."""
    python = tmp_path / "python"
    python.write_text(PYTHON.format(checkout=ROOT, python=sys.executable, log=pip_log))
    python.chmod(0o755)

    def run(
        *arguments: str | Path, umask: int = 0o022, environ: Mapping[str, str] = os.environ
    ) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, SYSTEMD / "install.py", "--root", tmp_path / "root", "--python", python, *arguments]
        return subprocess.run(
            command,
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
            umask=umask,
            env=dict(environ),
        )

    return run


@pytest.fixture(scope="session")
def mongo() -> Iterator[MongoServer]:
    """A MongoDB-wire server for the session."""
    with MongoServer() as server:
        yield server
