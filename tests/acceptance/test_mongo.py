"""Edges into and out of a MongoDB under `dataflow up`: started for them, killed under load, everything once."""

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


OUT = """
flow: outbox
connections:
  main: {redis: embedded}
  store: {mongo: embedded}
  warehouse: {clickhouse: embedded}
streams:
  orders.stream_in: {schema: {number: str, seq: int, amount: float?, items: json}}
edges:
  take: {kind: mongo2s, from: store.orders, to: orders.stream_in, by: seq, id_field: number, settle_s: 1, lease_s: 2}
  copy: {kind: s2mongo, from: orders.stream_in, to: store.copies, exclusive: true}
  archive: {kind: s2ch, from: orders.stream_in, to: warehouse.orders, create_table: true, min_batch: 1}
"""


def test_from_a_database_to_others_through_kills(tmp_path: Path) -> None:
    project = Project(tmp_path, OUT)
    project.up()
    try:
        with mongo.connect(project.run.mongo["store"] + "?serverSelectionTimeoutMS=300") as client:
            orders = client["dataflow"]["orders"]

            def place(first: int, count: int) -> None:
                numbers = range(first, first + count)
                orders.insert_many([{"_id": f"o{n}", "seq": n, "amount": n / 4, "items": [n]} for n in numbers])

            def archived(count: int) -> bool:
                try:
                    return int(project.rows("SELECT count() AS n FROM orders")[0]["n"]) == count
                except DataflowError:  # no table yet, or it is being started again
                    return False

            place(0, 300)
            eventually("the first orders", lambda: archived(300))
            for first, child in ((300, "sync"), (600, "redis.main"), (900, "mongo.store")):
                place(first, 300)
                pid = project.pid(child)
                assert pid is not None
                os.kill(pid, signal.SIGKILL)
                eventually(f"those after {child} was killed", lambda last=first: archived(last + 300))
            (found,) = project.rows("SELECT count() AS n, uniqExact(number) AS ids, sum(amount) AS amount FROM orders")
            assert (int(found["n"]), int(found["ids"]), found["amount"]) == (1200, 1200, sum(range(1200)) / 4)
            eventually("the copies", lambda: client["dataflow"]["copies"].count_documents({}) == 1200)
            orders.insert_one({"_id": "bad", "seq": 5000, "items": "x", "amount": [1]})
            eventually("the dead letter", lambda: "refused" in project.command("dlq", "ls", "take").stdout)

        eventually("the settling of the last batch", lambda: project.command("audit").returncode == 0)
        checks = {one["check"]: (one["state"], one["left"]) for one in project.audit()["findings"]}
        assert checks["intake"] == ("ok", 1201)
        assert "take" in project.command("dlq", "ls").stdout
        refused = project.command("dlq", "replay", "take", "--all")
        assert refused.returncode == 2 and "new value of `seq`" in refused.stderr
        ran = project.command("run", "take")
        assert ran.returncode == 0, ran.stderr
        assert "store.orders" in project.command("status").stdout
        assert project.command("graph").stdout.count("take (mongo2s)") == 1
    finally:
        project.down()
