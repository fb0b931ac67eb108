"""The doctor's judgements about edges: paused, failed, without an index."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pymongo.collection import Collection
from pymongo.errors import OperationFailure

from dataflow.doctor import flow as doctor
from dataflow.doctor.mongo import examine, indexes_for, judge_index
from dataflow.flow.load import loads
from dataflow.flow.spec import Edge
from dataflow.mongo import connect as connect_mongo
from dataflow.store.declare import apply
from dataflow.store.edgeruns import note_edge_run
from dataflow.store.keys import Keys
from dataflow.store.lane import Lane
from dataflow.store.redis import Client, connect
from dataflow.testing.mongo import MongoServer

FLOW = loads(
    """
flow: f
connections: {main: {redis: "redis://h/0"}, store: {mongo: "mongodb://h/"}}
streams: {a.stream_out: {schema: {seq: int}}, b.stream_in: {schema: {seq: int}, keep: {messages: 9}}}
edges:
  onward: {kind: s2s, from: a.stream_out, to: b.stream_in}
  take: {kind: mongo2s, from: store.orders, to: b.stream_in, by: seq}
""",
    Path("flow.yml"),
)


@pytest.fixture
def redis(redis_url: str) -> Iterator[Client]:
    client = connect(redis_url)
    apply(FLOW, client)
    yield client
    client.close()


def found(redis: Client) -> dict[tuple[str, str], Any]:
    return {(one.subject, one.code): one for one in doctor.examine(FLOW, {"main": redis})}


def note(redis: Client, state: str, error: str) -> None:
    note_edge_run(redis, Keys("f"), "onward", state, error, "marker")


@pytest.mark.integration
def test_an_edge_that_never_ran_has_no_verdict(redis: Client) -> None:
    assert not [subject for subject, _ in found(redis) if subject.startswith("edge")]


@pytest.mark.integration
def test_an_edge_whose_last_run_failed_is_named_until_one_ends_well(redis: Client) -> None:
    note(redis, "error", "the table is gone at redis://u:hunter2@h/0")
    finding = found(redis)["edge onward", "failed"]
    assert finding.level == "wrong" and "the table is gone" in finding.text and "UTC" in finding.text
    assert "hunter2" not in finding.text and finding.remedy
    note(redis, "empty", "")
    assert {code: one.level for (subject, code), one in found(redis).items() if subject == "edge onward"} == {
        "ran": "ok"
    }


@pytest.mark.integration
def test_an_edge_that_is_paused_is_named_with_the_way_out(redis: Client) -> None:
    lane = Lane(redis, Keys("f"), "a.stream_out", "onward")
    lane.acquire("n1", 60_000, "line")
    lane.pause("more than half of the rows were refused")
    note(redis, "paused", "more than half of the rows were refused")
    (finding,) = [one for (subject, _), one in found(redis).items() if subject == "edge onward"]
    assert (finding.level, finding.code) == ("wrong", "paused")
    assert "more than half" in finding.text and "dataflow resume onward" in finding.remedy


TAKE: Edge = FLOW.edges["take"]


@pytest.mark.parametrize(
    ("key", "more", "level"),
    [
        ([("seq", 1), ("_id", 1)], {}, "ok"), ([("seq", 1)], {}, "ok"), ([("seq", -1)], {}, "ok"),
        ([("seq", "hashed")], {}, "note"), ([("_id", 1), ("seq", 1)], {}, "note"),
        ([("seq", 1)], {"sparse": True}, "note"),
        ([("seq", 1)], {"partialFilterExpression": {"a": 1}}, "note"),
    ],
)  # fmt: skip
def test_which_index_serves(key: list[tuple[str, Any]], more: dict[str, Any], level: str) -> None:
    finding = judge_index(TAKE, {"_id_": {"key": [("_id", 1)]}, "other": {"key": key, **more}})
    assert (finding.subject, finding.code, finding.level) == ("edge take", "index", level)
    assert ("seq, _id" in finding.remedy) is (level == "note")


@pytest.mark.integration
def test_the_indexes_of_a_collection_are_asked_for(mongo: MongoServer) -> None:
    with connect_mongo(mongo.url) as client:
        documents = client["dataflow"]["orders"]
        drop(documents)
        assert judge_index(TAKE, indexes_for(client, TAKE)).level == "note", "a collection that is not there yet"
        documents.insert_one({"seq": 1})
        assert judge_index(TAKE, indexes_for(client, TAKE)).level == "note"
        documents.create_index("seq")
        assert judge_index(TAKE, indexes_for(client, TAKE)).level == "ok"
        drop(documents)
    assert [one.code for one in examine("store", mongo.url, [TAKE])][:1] == ["version"]
    assert not [one for one in examine("store", mongo.url, [TAKE]) if one.code == "index"], (
        "the embedded one takes none"
    )


def drop(documents: Collection[dict[str, Any]]) -> None:
    """Drop a collection. The embedded server refuses that while it still answers another question about it."""
    for _ in range(50):
        try:
            documents.drop()
        except OperationFailure as error:
            if "is locked" not in str(error):
                raise
            time.sleep(0.1)
        else:
            return
    raise AssertionError("the collection has been locked for five seconds")
