"""Tasks under `dataflow up`: rows on schedule, held by a pause, run by hand; documents from anywhere."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pymongo
import pytest

from dataflow.client import Hub
from dataflow.errors import DataflowError
from tests.acceptance.project import Project, eventually

pytestmark = pytest.mark.acceptance

FLOW = """
flow: tasks
streams:
  meter.stream_in:
    accepts: {task_for: t, function_type: f}
    schema: {rec_id: str, task_for: str, function_type: str, n: int}
  spare.stream_in:
    accepts: {task_for: t, function_type: g}
    schema: {rec_id: str, task_for: str, function_type: str, n: int}
edges:
  archive:
    {kind: s2ch, from: meter.stream_in, to: warehouse.rows, create_table: true, task: {second: "*/2"}}
  spare:
    {kind: s2ch, from: spare.stream_in, to: warehouse.spare, create_table: true, task: external}
"""


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Project]:
    project = Project(tmp_path, FLOW)
    project.up()
    yield project
    project.down()


def send(project: Project, first: int, n: int, function: str = "f") -> None:
    """Send messages r<first>, ..."""
    with Hub(project.run.hub) as hub:
        hub.send(
            {"rec_id": f"r{i}", "task_for": "t", "function_type": function, "n": i} for i in range(first, first + n)
        )


def stored(project: Project, table: str = "rows") -> int:
    """Rows in a table, each only once."""
    try:
        (row,) = project.rows(f"SELECT count() AS n, uniqExact(rec_id) AS different FROM {table}")
    except DataflowError:  # the table is not there yet
        return 0
    assert row["n"] == row["different"]
    return int(row["n"])


def task(project: Project, *words: str) -> Any:
    """`dataflow task ... --json` where that is known, else its line of text."""
    done = project.command("task", *words)
    assert done.returncode == 0, done.stdout + done.stderr + project.logs()
    return json.loads(done.stdout) if "--json" in words else done.stdout


def holds_for(seconds: float, project: Project, rows: int) -> bool:
    """Whether no row is added for a while."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if stored(project) != rows:
            return False
        time.sleep(0.2)
    return True


def holds(project: Project) -> list[tuple[str, str, int]]:
    """Who holds messages, and why, as `dataflow status` tells."""
    streams = json.loads(project.command("status", "--json").stdout)["streams"]
    return [(hold["reader"], hold["reason"], hold["waiting"]) for stream in streams for hold in stream["holds"]]


def test_rows_are_archived_on_schedule_and_held_by_a_pause(project: Project) -> None:
    send(project, 0, 50)
    eventually("the rows are archived", lambda: stored(project) == 50)
    assert "archive is paused" in task(project, "pause", "archive")
    send(project, 50, 30)
    assert holds_for(5, project, 50)
    (listed,) = [one for one in task(project, "ls", "--json") if one["task_id"] == "archive"]
    assert (listed["state"], listed["wish"]) == ("paused", "paused")
    eventually("it is told who holds the stream", lambda: holds(project) == [("archive", "task_paused", 30)])

    run = task(project, "run", "archive", "--json")
    assert run["facts"]["read"] == 30 and stored(project) == 80, "asked for, it runs once although it is paused"
    send(project, 80, 20)
    assert holds_for(3, project, 80)
    task(project, "resume", "archive")
    eventually("the schedule goes on", lambda: stored(project) == 100)
    shown = task(project, "show", "archive", "--json")
    assert shown["errors"] == 0 and any(one["facts"].get("read") == 30 for one in shown["history"])
    task(project, "rm", "archive")
    send(project, 100, 5)
    assert holds_for(3, project, 100)
    eventually("it is told again", lambda: holds(project) == [("archive", "task_init", 5)])
    refused = project.command("task", "pause", "archive")
    assert refused.returncode == 2 and "is init" in refused.stderr
    task(project, "resume", "archive")
    eventually("it is back", lambda: stored(project) == 105)
    project.audit()


def test_a_document_from_a_shell_runs_an_edge_and_survives_kills(project: Project) -> None:
    send(project, 0, 10, "g")
    assert stored(project, "spare") == 0, "an edge whose schedule is elsewhere does not run by itself"
    document = {
        "_id": "tasks.by_hand", "machine": "tasks", "task_id": "by_hand", "job_name": "s2ch",
        "set_to_status": "running", "interval_para": {"second": "*/2"}, "task_kwargs": {"edge": "spare"},
    }  # fmt: skip
    with pymongo.MongoClient[dict[str, Any]](project.run.mongo["tasks"]) as client:
        table = client["flask_aps"]["task_table"]
        table.insert_one(document)
        eventually("the edge runs", lambda: stored(project, "spare") == 10)
        for child in ("scheduler", "mongo.tasks"):
            pid = project.pid(child)
            assert pid is not None
            os.kill(pid, signal.SIGKILL)
            eventually(f"{child} is back", lambda c=child, p=pid: project.pid(c) not in (None, p))  # type: ignore[misc]
            before = stored(project, "spare")
            send(project, before, 10, "g")
            eventually(f"the edge runs after {child} was killed", lambda n=before: stored(project, "spare") == n + 10)  # type: ignore[misc]
        table.update_one({"_id": "tasks.by_hand"}, {"$set": {"set_to_status": "paused"}})

        def is_paused() -> bool:
            found = table.find_one({"_id": "tasks.by_hand"})
            return found is not None and found.get("running_status") == "paused"

        eventually("it is paused", is_paused)
    project.audit()


def test_a_flow_without_tasks_starts_neither_mongodb_nor_scheduler(tmp_path: Path) -> None:
    flow = FLOW.replace(', task: {second: "*/2"}', "").replace(", task: external", "")
    project = Project(tmp_path, flow)
    project.up()
    try:
        assert set(project.run.children) == {"redis.main", "sync", "sync-api", "hub"}
        assert project.run.mongo == {} and project.run.scheduler == ""
    finally:
        project.down()
