"""More than the flow can carry, for a while: refused at the door and told to wait; what was taken arrives, once."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from dataflow import warehouse
from dataflow.connections import resolve
from dataflow.errors import DataflowError
from dataflow.flow.load import load
from dataflow.testing.servers import ClickHouseServer
from tests.acceptance.project import Project, eventually

pytestmark = pytest.mark.acceptance

FLOW = """
flow: pressed
connections:
  main: {redis: embedded}
  warehouse: {clickhouse: "CLICKHOUSE"}
streams:
  meter.stream_in:
    max_len: 500
    accepts: {task_for: t, function_type: f}
    schema: {rec_id: str}
  meter.stream_out: {max_len: 500, schema: {rec_id: str}}
workers:
  slow: {from: meter.stream_in, to: meter.stream_out, handler: "steps:slow", batch: 20}
edges:
  archive:
    {kind: s2ch, from: meter.stream_out, to: warehouse.rows, create_table: true, batch: 100}
"""
STEPS = """
import time

def slow(message):
    time.sleep(SECONDS)
    return {"rec_id": message["rec_id"]}
"""
CLIENTS = 8
PER_REQUEST = 25
MOST_GROWTH = 24 << 20
"""Bytes by which all processes of the hub together may grow between two looks under the same load."""


class Crowd:
    """Clients that send again and again, and heed no advice to wait."""

    def __init__(self, hub: str) -> None:
        self.accepted: list[str] = []
        self.answers: Counter[int] = Counter()
        self.odd: list[str] = []
        self._hub = hub
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._send, args=(n,)) for n in range(CLIENTS)]

    def __enter__(self) -> Crowd:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        """Send no more, and wait for the last answers."""
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _send(self, lane: int) -> None:
        sent = 0
        with httpx.Client(base_url=self._hub, timeout=30) as client:
            while not self._stop.wait(0.005):
                names = [f"r{lane}.{n}" for n in range(sent, sent + PER_REQUEST)]
                body = [{"rec_id": name, "task_for": "t", "function_type": "f"} for name in names]
                self._note(client.post("/message_hub/", json=body), names)
                sent += PER_REQUEST

    def _note(self, answer: httpx.Response, names: list[str]) -> None:
        self.answers[answer.status_code] += 1
        if answer.status_code == 202:
            self.accepted += names
        elif answer.status_code != 429 or not 1 <= int(answer.headers.get("Retry-After", 0)) <= 60:
            self.odd.append(f"{answer.status_code} {answer.headers} {answer.text}")


def rows(project: Project) -> list[str]:
    """The names that have arrived."""
    store = warehouse.connect(resolve(load(project.flow)).warehouse["warehouse"])
    try:
        return [row["rec_id"] for row in store.rows("SELECT rec_id FROM rows")]
    except DataflowError:  # the table is not there yet
        return []


def ready(project: Project) -> Any:
    """What /readyz tells."""
    return httpx.get(f"{project.run.hub}/readyz", timeout=10).json()["data"]


def without_room(project: Project) -> list[dict[str, Any]]:
    """What /readyz tells of the streams that are full, or have less room than a request of the crowd needs."""
    told = ready(project)
    almost = [one for one in told["filling"] if one["max_len"] - one["depth"] < PER_REQUEST]
    return [*told["full"], *almost]


def full(project: Project) -> set[str]:
    """Their names."""
    return {one["stream"] for one in without_room(project)}


def holds(project: Project, stream: str) -> list[tuple[str, str]]:
    """Who holds such a stream, and why."""
    told = [hold for one in without_room(project) if one["stream"] == stream for hold in one["holds"]]
    return [(hold["reader"], hold["reason"]) for hold in told]


def memory(pid: int) -> int:
    """Bytes that a process and all below it hold."""
    tasks = Path(f"/proc/{pid}/task").iterdir()
    below = [int(child) for task in tasks for child in (task / "children").read_text().split()]
    (line,) = [line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("VmRSS")]
    return int(line.split()[1]) * 1024 + sum(map(memory, below))


def everything_arrives_once(project: Project, crowd: Crowd) -> None:
    eventually("all that was accepted is in the table", lambda: len(rows(project)) >= len(crowd.accepted))
    assert sorted(rows(project)) == sorted(crowd.accepted)
    project.audit()


@contextmanager
def running(folder: Path, clickhouse: str, seconds: float) -> Iterator[Project]:
    """The flow under `up`, with a handler that takes so long."""
    project = Project(folder, FLOW.replace("CLICKHOUSE", clickhouse), STEPS.replace("SECONDS", str(seconds)))
    project.up()
    try:
        yield project
    finally:
        project.down()


def test_sustained_overload_is_refused_and_costs_no_memory(tmp_path: Path) -> None:
    with running(tmp_path, "embedded", 0.004) as project, Crowd(project.run.hub) as crowd:
        eventually("the door refuses", lambda: crowd.answers[429] > 20)
        eventually("it is told who holds the stream", lambda: ("slow", "behind") in holds(project, "meter.stream_in"))
        hub = project.pid("hub")
        assert hub is not None
        before, since = memory(hub), crowd.answers.total()
        eventually("much more was sent", lambda: crowd.answers.total() > since + 800, 25)
        grown = memory(hub) - before
        crowd.stop()
        assert crowd.odd == []
        assert grown < MOST_GROWTH, f"the hub grew by {grown} bytes in {crowd.answers.total() - since} requests"
        assert crowd.answers[429] > crowd.answers[202] > 10
        everything_arrives_once(project, crowd)


def test_a_stalled_clickhouse_is_felt_at_the_door_and_all_drains_afterwards(
    tmp_path: Path, own_clickhouse: ClickHouseServer
) -> None:
    with running(tmp_path, own_clickhouse.url, 0) as project, Crowd(project.run.hub) as crowd:
        eventually("rows arrive", lambda: len(rows(project)) > 200)
        own_clickhouse.freeze()
        try:
            eventually("both streams are full", lambda: full(project) >= {"meter.stream_in", "meter.stream_out"})
            eventually("it is told", lambda: ("slow", "target_full") in holds(project, "meter.stream_in"))
            refused, taken = crowd.answers[429], crowd.answers[202]
            eventually("the door refuses", lambda: crowd.answers[429] > refused + 200)
            assert crowd.answers[202] <= taken + 1, "nothing more is taken"
        finally:
            own_clickhouse.thaw()
        taken = crowd.answers[202]
        eventually("the door is open again", lambda: crowd.answers[202] > taken + 10)
        crowd.stop()
        assert crowd.odd == []
        everything_arrives_once(project, crowd)
