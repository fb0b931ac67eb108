"""`python -m dataflow.testing.chaos`: a short run of what `make chaos` does for minutes."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from dataflow.testing.chaos import project
from dataflow.testing.chaos.project import STEPS
from dataflow.testing.chaos.run import run, to_stderr

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


def test_a_row_that_holds_something_else_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    broken = STEPS.replace('message["twice"] % 10', 'message["twice"] % 10 + (message["n"] % 50 == 20)')
    broken = broken.replace(
        "def double(message):", 'def double(message):\n    message["note"] += ["", "!"][message["n"] == 3]'
    )
    monkeypatch.setattr(project, "STEPS", broken)
    outcome = run(tmp_path, 1, 1.0, to_stderr)
    assert not outcome.clean and not outcome.tally.losses and not outcome.tally.duplicates
    wrong = {n for (_, n), _ in outcome.tally.changed}
    assert {3, 20} <= wrong <= {3, *range(20, outcome.tally.accepted, 50)}
    told = [problem for problem in outcome.problems if problem.startswith("changed: (0, 20) graded: grade is 1")]
    assert len(told) == 1, outcome.problems
