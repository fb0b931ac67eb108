"""The import rule finds what it must and lets the rest stand."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tools.check_imports import check_source

ROOT = Path(__file__).parents[2]
TOOL = ROOT / "tools" / "check_imports.py"


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("workers/loop.py", "import sync"),
        ("workers/loop.py", "import sync.sinks.memory as m"),
        ("workers/handlers/python.py", "from message_hub.net import Net"),
        ("sync/app.py", "def f():\n    from workers.parent import Parent"),
        ("sync/app.py", "if TYPE_CHECKING:\n    import scheduler"),
        ("console/app.py", "from message_hub import app"),
        ("dataflow/message.py", "import workers"),
        ("dataflow/message.py", "def f():\n    import workers"),
        ("dataflow/cli/up.py", "from sync.host import Host"),
        ("dataflow/up/run.py", "class A:\n    import sync"),
    ],
)
def test_breaches(path: str, source: str) -> None:
    (breach,) = check_source(path, source)
    assert (breach.path, breach.line) == (path, source.count("\n") + 1)


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("workers/loop.py", "from dataflow.store.hop import Hop\nimport workers.slot\nfrom . import task"),
        ("sync/app.py", "import celery\nimport synchronous"),
        ("dataflow/cli/sql.py", "def f():\n    from sync.warehouse import client"),
        ("dataflow/up/run.py", "async def f():\n    import message_hub"),
        ("dataflow/cli/task.py", "if TYPE_CHECKING:\n    from scheduler.tasks import Tasks"),
        ("dataflow/message.py", "import json\nfrom dataflow import errors"),
    ],
)
def test_what_may_stand(path: str, source: str) -> None:
    assert check_source(path, source) == []


@pytest.mark.acceptance
def test_the_tool_fails_on_a_breach_and_names_it(tmp_path: Path) -> None:
    (tmp_path / "workers").mkdir()
    (tmp_path / "workers" / "loop.py").write_text("import os\nimport sync\n")
    done = subprocess.run([sys.executable, TOOL, tmp_path], capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stdout.startswith("workers/loop.py:2: room workers imports room sync")


@pytest.mark.acceptance
def test_this_project_keeps_the_rule() -> None:
    done = subprocess.run([sys.executable, TOOL], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "")
