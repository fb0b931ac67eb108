"""kill -9 of every process of a running flow, in turn and under load: nothing is lost, nothing is there twice."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from dataflow.client import Hub
from dataflow.errors import DataflowError
from tests.acceptance.load import Load
from tests.acceptance.project import Project, eventually

pytestmark = pytest.mark.acceptance

VICTIMS = ("worker child", "worker.double", "sync", "hub child", "hub", "redis.main")


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Project]:
    project = Project(tmp_path)
    project.up()
    yield project
    project.down()


def test_every_process_is_killed_in_turn_under_load(project: Project) -> None:
    with Load(lambda: project.run.hub) as load:
        for victim in VICTIMS:
            pid = _pid_of(project, victim)
            os.kill(pid, signal.SIGKILL)
            eventually(f"{victim} was replaced", lambda v=victim, p=pid: _is_replaced(project, v, p))  # type: ignore[misc]
            load.wait_for(100, f"{victim} was killed")
    assert load.problem is None
    eventually("everything accepted is in the table", lambda: _stored(project) >= len(load.accepted))
    rows = project.rows("SELECT rec_id, twice FROM doubled")
    assert len(rows) == len(load.accepted), "no row twice, none that was not sent"
    assert {row["rec_id"] for row in rows} == load.accepted
    assert all(int(row["twice"]) == 2 * int(row["rec_id"][1:]) for row in rows)
    project.audit()


def test_up_itself_is_killed_and_started_again_in_the_same_folder(project: Project) -> None:
    with Hub(project.run.hub) as hub:
        hub.send({"rec_id": f"r{n}", "task_for": "t", "function_type": "f", "n": n} for n in range(500))
    before = {name: project.pid(name) for name in project.run.children}
    os.kill(project.run.up.pid, signal.SIGKILL)
    eventually(
        "no child outlives up", lambda: not any(pid and Path(f"/proc/{pid}").exists() for pid in before.values())
    )
    project.up()
    eventually("everything is in the table", lambda: _stored(project) == 500)
    assert project.rows("SELECT count() AS n, uniqExact(_mid) AS different FROM doubled") == [
        {"n": 500, "different": 500}
    ]
    project.audit()


def _stored(project: Project) -> int:
    try:
        return int(project.rows("SELECT count() AS n FROM doubled")[0]["n"])
    except DataflowError:  # the table is not there yet, or the sync process is just being replaced
        return 0


def _pid_of(project: Project, victim: str) -> int:
    """The process to kill; of a child of a child of `up`, any."""
    if not victim.endswith(" child"):
        pid = project.pid(victim)
        assert pid is not None, f"{victim} does not run"
        return pid
    parent = project.pid("worker.double" if victim.startswith("worker") else "hub")
    assert parent is not None
    children = Path(f"/proc/{parent}/task/{parent}/children").read_text().split()
    assert children, f"{victim}: none"
    return int(children[0])


def _is_replaced(project: Project, victim: str, pid: int) -> bool:
    try:
        return _pid_of(project, victim) != pid and not Path(f"/proc/{pid}").exists()
    except (AssertionError, FileNotFoundError):
        return False
