"""The benchmark in a small form: every job runs on real servers and passes its own check. Nothing is timed here."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.jobs import JOBS

ROOT = Path(__file__).parents[2]
QUICK = [job.name for job in JOBS if job.name not in ("tasks", "latency")]


@pytest.mark.acceptance
@pytest.mark.parametrize("names", [QUICK, ["tasks", "latency"]], ids=["moving", "waiting"])
def test_every_job_passes_its_own_check(names: list[str], tmp_path: Path) -> None:
    only = [part for name in names for part in ("--only", name)]
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks", *only, "--messages", "2000", "--rounds", "1", "--results", str(tmp_path)],
        cwd=ROOT, capture_output=True, text=True, timeout=280, env={**os.environ, "PYTHONPATH": str(ROOT)}, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads((tmp_path / "latest.json").read_text(encoding="utf-8"))
    assert set(found["jobs"]) == set(names)
    for name, job in found["jobs"].items():
        assert job["error"] == "", name
        assert all(one["rate"] for one in job["contenders"].values()), name
    for name in names:
        assert name in done.stdout
    curves = {f"{name}.svg" for name in names if name.startswith("curve")}
    assert {path.name for path in tmp_path.iterdir()} == {"latest.json", *curves}


def test_every_job_with_a_goal_names_contenders_that_it_has() -> None:
    assert len({job.name for job in JOBS}) == len(JOBS)
    for job in JOBS:
        assert len({one.name for one in job.contenders}) == len(job.contenders)
        if job.curve is not None:
            named = {name for points in job.curve.series.values() for _, name in points}
            assert named == {one.name for one in job.contenders}
