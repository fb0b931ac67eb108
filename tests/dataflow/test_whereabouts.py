"""Where a message is, from the door to the table, on real streams."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from dataflow import whereabouts
from dataflow.errors import ServerAway
from dataflow.flow.load import loads
from dataflow.ids import child_id, foreign_id, message_id, request_id
from dataflow.message import Codec, meta
from dataflow.store.deadletters import DeadLetters
from dataflow.store.declare import apply
from dataflow.store.door import Door, Outgoing
from dataflow.store.hop import Hop
from dataflow.store.keys import Keys
from dataflow.store.lane import Frozen, Lane
from dataflow.store.outcomes import Dead, Entry, Out, Park
from dataflow.store.redis import call, connect
from dataflow.warehouse import Parameter
from dataflow.whereabouts import Place, Whereabouts, find

pytestmark = pytest.mark.integration

FLOW = """
flow: tests
connections: {main: {redis: "redis://127.0.0.1:1"}, warehouse: {clickhouse: embedded}}
streams:
  meter.stream_in: {accepts: {task_for: meter, function_type: score}}
  fine.stream_in: {}
  meter.stream_out: {schema: {rec_id: str, score: float}}
  fine.stream_out: {keep: {messages: 10}}
workers:
  score: {from: meter.stream_in, to: meter.stream_out, handler: "steps:handle"}
  second: {from: fine.stream_in, to: fine.stream_out, handler: "steps:handle"}
edges:
  sort: {kind: s2s, from: meter.stream_in, to: fine.stream_in}
  archive: {kind: s2ch, from: meter.stream_out, to: warehouse.scores, create_table: true}
"""


class Table:
    """A warehouse that holds these rows."""

    def __init__(self, rows: list[dict[str, Any]]) -> None:
        self._rows = rows
        self.asked = 0

    def query(self, *_: Any, **__: Any) -> bytes:
        raise NotImplementedError

    def rows(
        self, sql: str, params: Mapping[str, Parameter] | None = None, *, timeout_s: float = 60.0
    ) -> list[dict[str, Any]]:
        assert params is not None
        assert "`scores`" in sql
        self.asked += 1
        mid, made = str(params["mid"]), str(params["made"])
        return [row for row in self._rows if row["_mid"] == mid or row["_mid"].startswith(made)]


class Away(Table):
    """A warehouse that does not answer."""

    def rows(self, *_: Any, **__: Any) -> list[dict[str, Any]]:
        raise ServerAway


class Net:
    """The flow on a real Redis, with hands for each of its readers."""

    def __init__(self, url: str) -> None:
        self.flow = loads(FLOW)
        self.redis = connect(url)
        self.keys = Keys("tests")
        apply(self.flow, self.redis)
        self.door = Door(self.redis, self.keys)
        self.tables: dict[str, Any] = {"warehouse": Table([])}

    def add(self, stream: str = "meter.stream_in", mid: str | None = None, **fields: Any) -> str:
        mid = mid or message_id(request_id(), 0)
        self.door.append([Outgoing(stream, [*meta(mid, "hub@1"), *Codec(None).encode(fields)])])
        return mid

    def foreign(self, stream: str = "meter.stream_in") -> str:
        id_ = call(self.redis, "XADD", self.keys.stream(stream).stream, "*", "x", "1")
        return foreign_id(stream, id_.decode())

    def hop(self, worker: str = "score") -> Hop:
        step = self.flow.workers[worker]
        return Hop(self.redis, self.keys, step.source, worker, step.targets)

    def take(self, worker: str = "score", *, apart: bool = False) -> Entry:
        entries = self.hop(worker).read("me", 1, 1, apart=apart)
        assert len(entries) == 1
        return entries[0]

    def finish(self, outcome: Any, worker: str = "score") -> None:
        self.hop(worker).finish("me", [(self.take(worker), outcome)])

    def settle(self, edge: str, *, settle: bool = True) -> None:
        """Let an edge freeze all there is, and settle it."""
        lane = Lane(self.redis, self.keys, self.flow.edges[edge].source, edge)
        lease = lane.acquire("nonce", 60_000, "lineage")
        ids, _ = lane.read(lease.position, 1000)
        batch = Frozen(lease.seq + 1, "digest", ids[0], ids[-1], len(ids), "{}", 0)
        frozen = lane.freeze(lease, 60_000, lease.position, batch)
        if settle:
            lane.settle(lease, 60_000, frozen, len(ids), [])

    def find(self, mid: str) -> Whereabouts:
        return find(self.flow, {"main": self.redis}, self.tables, mid)

    def seen(self, mid: str) -> set[tuple[str, str, str]]:
        return {(place.state, place.where, place.reader) for place in self.find(mid).places}


@pytest.fixture
def net(both_redis_url: str) -> Net:
    return Net(both_redis_url)


def out(mid: str, **fields: Any) -> Out:
    return Out([(0, [*meta(mid, "hub@1>score@2"), *Codec(None).encode(fields)])])


@pytest.mark.parametrize("apart", [False, True])
def test_a_message_waits_until_its_worker_takes_it(net: Net, apart: bool) -> None:
    net.add()
    mid = net.add()
    net.take()
    assert net.find(mid).state == "waiting"
    assert net.seen(mid) == {("waiting", "meter.stream_in", "score"), ("waiting", "meter.stream_in", "sort")}
    net.take(apart=apart)
    found = net.find(mid)
    assert found.state == "in_work"
    assert Place("in_work", "meter.stream_in", "score", mid, "me") in found.places
    assert found.incomplete == []


def test_what_a_process_handed_back_waits_again(net: Net) -> None:
    mid = net.add()
    net.take()
    net.hop().hand_back("me")
    assert net.find(mid).state == "waiting"


def test_a_batch_that_an_edge_has_frozen_is_in_work(net: Net) -> None:
    mid = net.add()
    net.settle("sort", settle=False)
    assert ("in_work", "meter.stream_in", "sort") in net.seen(mid)


def test_a_message_is_done_when_no_worker_has_it_any_more(net: Net) -> None:
    mid = net.add()
    net.settle("sort")
    net.finish(out(mid, rec_id="r", score=0.5))
    found = net.find(mid)
    assert found.state == "done"
    assert found.output == [{"where": "meter.stream_out", "mid": mid, "message": {"rec_id": "r", "score": 0.5}}]
    assert net.seen(mid) == {("done", "meter.stream_out", ""), ("waiting", "meter.stream_out", "archive")}


def test_as_long_as_another_step_has_it_it_is_not_done(net: Net) -> None:
    mid = net.add()
    net.add("fine.stream_in", child_id(mid, "sort", 0))
    net.settle("sort")
    net.finish(out(mid, rec_id="r", score=0.5))
    assert net.find(mid).state == "waiting"
    net.finish(Out([(0, meta(child_id(mid, "sort", 0), "p"))]), "second")
    found = net.find(mid)
    assert found.state == "done"
    assert [one["mid"] for one in found.output] == [mid, child_id(mid, "sort", 0)]


def test_archived_it_is_found_in_its_table(net: Net) -> None:
    mid = net.add()
    row = {"_mid": mid, "rec_id": "r", "score": 0.5}
    net.tables["warehouse"] = table = Table([row, {"_mid": mid + "1"}])
    assert net.find(mid).state == "waiting"
    assert table.asked == 0
    net.settle("sort")
    net.finish(out(mid, rec_id="r", score=0.5))
    net.settle("archive")
    found = net.find(mid)
    assert (found.state, found.incomplete) == ("done", [])
    assert found.output == [{"where": "warehouse.scores", "mid": mid, "message": row}]


@pytest.mark.parametrize("tables", [{}, {"warehouse": Away([])}])
def test_a_table_that_cannot_be_asked_is_told(net: Net, tables: dict[str, Any]) -> None:
    net.tables = tables
    found = net.find(message_id(request_id(), 0))
    assert (found.state, found.incomplete) == ("unknown", ["warehouse.scores"])


@pytest.mark.parametrize("own", [True, False])
def test_what_failed_is_retrying_and_then_dead_and_replayed_retrying_again(net: Net, own: bool) -> None:
    mid = net.add() if own else net.foreign()
    net.settle("sort")
    net.finish(Park(due_ms=0, attempts=1))
    assert net.find(mid).state == "retrying"
    assert net.seen(mid) == {("retrying", "meter.stream_in:parked", "score")}
    net.hop().wake()
    assert net.seen(mid) == {("retrying", "meter.stream_in:retry", "score")}
    net.finish(Dead("handler_error", "boom", 5))
    found = net.find(mid)
    assert found.state == "dead"
    assert [place.detail for place in found.places] == ["handler_error: boom"]
    DeadLetters(net.redis, net.keys, "meter.stream_in", "score").replay_all()
    assert net.find(mid).state == "retrying"


def test_of_two_readers_the_one_that_has_not_finished_counts(net: Net) -> None:
    mid = net.add()
    net.finish(Dead("rejected", "no", 1))
    assert net.find(mid).state == "waiting"
    net.settle("sort")
    assert net.find(mid).state == "dead"


def test_a_foreign_entry_is_found_by_stream_and_entry_id(net: Net) -> None:
    mid = net.foreign()
    net.foreign()
    assert net.seen(mid) == {("waiting", "meter.stream_in", "score"), ("waiting", "meter.stream_in", "sort")}


def test_an_id_is_not_mistaken_for_a_longer_one(net: Net) -> None:
    request = request_id()
    net.add(mid=message_id(request, 1))
    net.add(mid=message_id(request, 10))
    net.finish(Park(due_ms=1 << 45, attempts=1))
    net.finish(Park(due_ms=1 << 45, attempts=1))
    assert len([place for place in net.find(message_id(request, 1)).places if place.where.endswith("parked")]) == 1


def test_an_id_that_no_one_gave_is_unknown(net: Net) -> None:
    net.add()
    for mid in (message_id(request_id(), 0), "", "x", "ü/\x00", "meter.stream_in/5-5", "x" * 5000):
        assert net.find(mid).state == "unknown", mid


def test_a_search_that_ends_before_the_stream_says_so(net: Net, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(whereabouts, "SCAN_ENTRIES", 400)
    request = request_id()
    for _ in range(2):
        net.door.append([Outgoing("fine.stream_in", meta(message_id(request, n), "p")) for n in range(250)])
    found = net.find(message_id(request, 999))
    assert (found.state, found.incomplete) == ("unknown", ["fine.stream_in"])


def test_what_moves_while_it_is_looked_for_is_found(net: Net, monkeypatch: pytest.MonkeyPatch) -> None:
    """It comes back from its back-off just after the retry stream was looked at, and before the parked are."""
    mid = net.add()
    net.settle("sort")
    net.finish(Park(due_ms=0, attempts=1))
    retry = net.keys.retry("meter.stream_in", "score").stream
    woken: list[int] = []

    def call_and_wake(client: Any, *args: Any) -> Any:
        answer = call(client, *args)
        if args[:2] == ("XRANGE", retry) and not woken:
            woken.append(net.hop().wake())
        return answer

    monkeypatch.setattr(whereabouts, "call", call_and_wake)
    assert net.find(mid).state == "retrying"
    assert woken == [1]
