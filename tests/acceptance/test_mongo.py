"""An edge into a MongoDB under `dataflow up`: started for the edge, killed under load, every message one document."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from dataflow import mongo
from dataflow.client import Hub
from dataflow.errors import DataflowError
from dataflow.flow.load import load
from dataflow.mongo import Collections
from tests.acceptance.project import Project, eventually

pytestmark = pytest.mark.acceptance

FLOW = """
flow: documents
connections:
  main: {redis: embedded}
  store: {mongo: embedded}
streams:
  meter.stream_in:
    accepts: {task_for: t, function_type: f}
    schema: {rec_id: str, task_for: str, function_type: str, n: int, at: datetime}
  spare.stream_in:
    accepts: {task_for: t, function_type: g}
edges:
  keep: {kind: s2mongo, from: meter.stream_in, to: store.rows, exclusive: true, lease_s: 2, batch: 50}
  spare: {kind: s2mongo, from: spare.stream_in, to: store.spare, database: lab}
"""


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Project]:
    project = Project(tmp_path, FLOW)
    project.up()
    yield project
    project.down()


def send(project: Project, first: int, count: int, function: str = "f") -> None:
    with Hub(project.run.hub) as hub:
        hub.send(
            {"rec_id": f"r{n}", "task_for": "t", "function_type": function, "n": n, "at": "2026-01-31T12:30:00+00:00"}
            for n in range(first, first + count)
        )


def test_every_message_is_one_document_through_kills(project: Project) -> None:
    edges = load(project.flow).edges
    with mongo.connect(project.run.mongo["store"] + "?serverSelectionTimeoutMS=300") as client:
        store = Collections(client)

        def stored(count: int) -> bool:
            try:
                return store.count(edges["keep"]) == count
            except DataflowError:  # it is being started again
                return False

        send(project, 0, 300)
        eventually("the first documents", lambda: stored(300))
        for first, child in ((300, "mongo.store"), (600, "sync")):
            pid = project.pid(child)
            assert pid is not None
            send(project, first, 300)
            os.kill(pid, signal.SIGKILL)
        eventually("all documents", lambda: stored(900))
        found = list(mongo.collection_of(client, edges["keep"]).find())
        assert sorted(one["n"] for one in found) == list(range(900))
        assert found[0]["at"].year == 2026
        send(project, 0, 5, "g")
        eventually("those of the other database", lambda: store.count(edges["spare"]) == 5)

    eventually("the settling of the last batch", lambda: project.command("audit").returncode == 0)
    checks = {one["subject"]: (one["state"], one["left"]) for one in project.audit()["findings"]}
    assert checks["store.rows"] == ("ok", 900)
    assert checks["store.lab.spare"] == ("ok", 5)
    ran = project.command("run", "keep")
    assert ran.returncode == 0, ran.stderr
    shown = project.command("status").stdout
    assert "upsert" in shown
    assert "store.rows" in shown
