"""kill -9 of every process of a running flow, in turn and under load: nothing is lost, nothing is there twice."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from dataflow.client import Hub
from dataflow.errors import DataflowError
from tests.acceptance.project import Project, eventually

pytestmark = pytest.mark.acceptance

VICTIMS = ("worker child", "worker.double", "sync", "hub child", "hub", "redis.main")


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Project]:
    project = Project(tmp_path)
    project.up()
    yield project
    project.down()


class Load:
    """Sends messages without pause, and remembers which were accepted and which may have been."""

    def __init__(self, project: Project) -> None:
        self._project = project
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._send)
        self.accepted: set[str] = set()
        self.problem: DataflowError | None = None

    def __enter__(self) -> Load:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _send(self) -> None:
        sent = 0
        while not self._stop.wait(0.02):
            messages = [
                {"rec_id": f"r{n}", "task_for": "t", "function_type": "f", "n": n} for n in range(sent, sent + 20)
            ]
            try:
                with Hub(self._project.run.hub, timeout_s=5, patience_s=60) as hub:
                    hub.send(messages)
            except DataflowError as problem:
                self.problem = problem
                return
            self.accepted.update(message["rec_id"] for message in messages)  # type: ignore[misc]
            sent += 20


def test_every_process_is_killed_in_turn_under_load(project: Project) -> None:
    with Load(project) as load:
        for victim in VICTIMS:
            before = len(load.accepted)
            pid = _pid_of(project, victim)
            os.kill(pid, signal.SIGKILL)
            eventually(f"{victim} was replaced", lambda v=victim, p=pid: _is_replaced(project, v, p))  # type: ignore[misc]
            eventually(f"messages accepted after {victim} was killed", lambda n=before: len(load.accepted) > n + 100)  # type: ignore[misc]
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
