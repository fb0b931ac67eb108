"""A cycle of streams under more load than it can take: it never stands still, and nothing goes round for ever.

Each message becomes three when it comes in, so there are soon more on the cycle than its streams are to hold.
"""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from dataflow.errors import DataflowError
from tests.acceptance.load import Load
from tests.acceptance.project import Project, eventually

pytestmark = pytest.mark.acceptance

MOST_HOPS = 12
PARTS = ("", "a", "b")
FLOW = f"""
flow: rounds
streams:
  a.stream_in: {{max_len: 100, accepts: {{task_for: t, function_type: f}}}}
  a.stream_out: {{max_len: 100, schema: {{rec_id: str, left: int, state: str}}}}
  done.stream_in: {{schema: {{rec_id: str, left: int, state: str}}}}
workers:
  step: {{from: a.stream_in, to: a.stream_out, handler: "steps:step", processes: 2, batch: 50, lease_s: 2}}
edges:
  again:
    kind: s2s
    from: a.stream_out
    batch: 50
    lease_s: 2
    max_hops: {MOST_HOPS}
    route: {{by: state, cases: {{done: done.stream_in}}, other: a.stream_in}}
  archive: {{kind: s2ch, from: done.stream_in, to: warehouse.done, create_table: true, lease_s: 2, max_wait_s: 0.2}}
"""
STEPS = """
import time

def step(message):
    time.sleep(0.001)
    if "left" not in message:
        n = int(message["rec_id"][1:])
        left = 1_000_000 if n % 50 == 49 else n % 4 + 1
        return [{"rec_id": message["rec_id"] + part, "left": left, "state": "again"} for part in ("", "a", "b")]
    left = int(message["left"]) - 1
    return {"rec_id": message["rec_id"], "left": left, "state": "again" if left else "done"}
"""


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Project]:
    project = Project(tmp_path, FLOW, STEPS)
    project.up()
    yield project
    project.down()


def test_under_full_load_with_killed_workers_each_message_ends_once(project: Project) -> None:
    with Load(lambda: project.run.hub) as load:
        for kill in range(6):
            load.wait_for(150, f"kill {kill}")
            os.kill(_child(project), signal.SIGKILL)
    assert load.problem is None
    endless = {one + part for one in load.accepted for part in PARTS if int(one[1:]) % 50 == 49}
    ends = {one + part for one in load.accepted for part in PARTS} - endless
    eventually("the cycle is empty", lambda: _depth(project) == 0, timeout_s=120)
    eventually("all others are in the table", lambda: _stored(project) >= len(ends))
    rows = project.rows("SELECT rec_id, _mid FROM done")
    assert len(rows) == len(ends)
    assert {row["rec_id"] for row in rows} == ends
    assert len({row["_mid"] for row in rows}) == len(rows)
    dead = json.loads(project.command("dlq", "ls", "again", "--json", "-n", "10000").stdout)
    assert sorted(letter["fields"]["rec_id"] for letter in dead) == sorted(endless)
    assert all("max_hops" in letter["error"] for letter in dead)
    assert {letter["path"].count(">step@") for letter in dead} == {MOST_HOPS // 2 + 1}
    project.audit()


def _child(project: Project) -> int:
    parent = project.pid("worker.step")
    assert parent is not None
    found: list[str] = []

    def has_children() -> bool:
        found[:] = Path(f"/proc/{parent}/task/{parent}/children").read_text().split()
        return bool(found)

    eventually("the worker has children", has_children)
    return int(found[0])


def _depth(project: Project) -> int:
    status = json.loads(project.command("status", "--json").stdout)
    return sum(stream["depth"] for stream in status["streams"] if stream["name"].startswith("a."))


def _stored(project: Project) -> int:
    try:
        return int(project.rows("SELECT count() AS n FROM done")[0]["n"])
    except DataflowError:  # the sync process is just being replaced
        return 0
