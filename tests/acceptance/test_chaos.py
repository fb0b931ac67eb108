"""`python -m dataflow.testing.chaos`: a short run of what `make chaos` does for minutes."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.acceptance

LINE = re.compile(r"chaos: kills=(\d+) accepted=(\d+) delivered=(\d+) dead=(\d+) lost=0 duplicates=0\n")


def test_a_short_run_loses_and_doubles_nothing(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "dataflow.testing.chaos", "--seed", "427", "--duration", "20"],
        env={**os.environ, "TMPDIR": str(tmp_path)},
        capture_output=True, text=True, timeout=500, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    line = LINE.fullmatch(done.stdout)
    assert line is not None, done.stdout
    kills, accepted, delivered, dead = map(int, line.groups())
    assert kills >= 4 and accepted >= 100 and delivered + dead == accepted and dead > 0
    assert "audit: clean" in done.stderr
    assert list(tmp_path.iterdir()) == [], "a clean run leaves nothing behind"
