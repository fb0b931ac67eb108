"""Looking without changing."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from dataflow.flow.load import loads
from dataflow.store.alarms import raise_alarm
from dataflow.store.declare import apply, undeclare
from dataflow.store.live import beat
from dataflow.store.outcomes import Dead, Drop, Park
from dataflow.store.reading import (
    read_alarms,
    read_joins,
    read_lanes,
    read_processes,
    read_stream,
    read_streams,
    read_tallies,
    server_ms,
)
from dataflow.store.redis import call, connect
from dataflow.testing.servers import RedisServer
from tests.dataflow.store.store_contract import freeze
from tests.dataflow.store.stores import FLOW, IN, LAST, OUT, SIDE, TEXT, RealStore, message, mids

pytestmark = pytest.mark.integration


def test_a_stream_and_its_readers(store: RealStore) -> None:
    store.door().append([message(n) for n in range(10)])
    one = store.hop("one")
    entries = one.read("c1", 6, 0)
    one.finish("c1", [(entries[0], Drop()), (entries[1], Dead("x", "y", 1)), (entries[2], Park(5, 1))])
    view = read_stream(store.client, store.keys, IN)
    assert (view.books.length, view.books.max_len, view.books.removed, view.books.written) == (10, 40, 0, {"door": 10})
    first, second = view.groups
    assert (first.name, first.declared, first.exists, second.name) == ("one", True, True, "two")
    assert (first.undelivered, first.pending, first.parked, first.next_due_ms) == (4, 3, 1, 5)
    assert (first.filtered, first.dead, first.dead_letters.length, first.finished, first.waiting) == (1, 1, 1, 2, 8)
    assert (second.undelivered, second.waiting) == (10, 10)
    assert view.holders == ("two", "one")
    assert view.missing == ()


def test_what_came_back_is_told_apart(store: RealStore) -> None:
    store.door().append([message(n) for n in range(3)])
    one = store.hop("one")
    one.finish("c", [(entry, Park(1, 1)) for entry in one.read("c", 3, 0)])
    one.wake(2)
    one.read("c", 1, 0)
    first = read_stream(store.client, store.keys, IN).groups[0]
    assert (first.retry_undelivered, first.retry_pending, first.retry_depth, first.parked) == (1, 1, 2, 1)


def test_a_stream_of_a_flow_that_was_never_applied(both_redis_url: str) -> None:
    client = connect(both_redis_url)
    (view, *_) = read_streams(FLOW, {"main": client})
    assert (view.name, view.books.exists, view.books.max_len, view.books.length) == (IN, False, None, 0)
    assert [(group.name, group.declared, group.exists, group.waiting) for group in view.groups] == [
        ("one", False, False, 0),
        ("two", False, False, 0),
    ]
    client.close()


def test_a_missing_group_is_told(store: RealStore) -> None:
    store.lose_group(store.keys.stream(IN), "two")
    assert read_stream(store.client, store.keys, IN).missing == ("two",)


@pytest.mark.parametrize("exact", [False, True])
def test_undelivered_is_right_after_deletions_by_hand(store: RealStore, exact: bool) -> None:
    store.door().append([message(n) for n in range(10)])
    store.hop("one").read("c", 2, 0)
    ids = [id_ for id_, _ in store.fields(store.keys.stream(IN))]
    for index in (4, 5, 9):
        store.remove_by_hand(IN, ids[index])
    one, two = read_stream(store.client, store.keys, IN, exact=exact).groups
    assert (one.undelivered, two.undelivered) == (5, 7)


@pytest.mark.parametrize("delivered", [0, 1, 999, 1000, 1001, 2400, 4000, 4999, 5000])
def test_undelivered_is_counted_from_either_side(store: RealStore, delivered: int) -> None:
    call(store.client, "HSET", store.keys.stream(IN).counts, "max_len", 10_000)
    for first in range(0, 5000, 1000):
        store.door().append([message(n) for n in range(first, first + 1000)])
    if delivered:
        store.hop("one").read("c", delivered, 0)
    one, two = read_stream(store.client, store.keys, IN, exact=True).groups
    assert (one.undelivered, one.pending, two.undelivered) == (5000 - delivered, delivered, 5000)


def test_too_many_to_be_counted_are_taken_from_the_books(store: RealStore) -> None:
    call(store.client, "HSET", store.keys.stream(IN).counts, "max_len", 100_000)
    for first in range(0, 24_000, 1000):
        store.door().append([message(n) for n in range(first, first + 1000)])
    one = store.hop("one")
    entries = [entry for _ in range(12) for entry in one.read("c", 1000, 0)]
    one.finish("c", [(entry, Drop()) for entry in entries[:500]])
    one.finish("c", [(entry, Park(1, 1)) for entry in entries[500:600]])
    quick, exact = (read_stream(store.client, store.keys, IN, exact=exact).groups[0] for exact in (False, True))
    assert quick == exact
    assert (quick.undelivered, quick.pending, quick.parked) == (12_000, 11_400, 100)


def test_a_server_that_was_killed_shows_nothing_waiting_on_an_empty_stream(own_redis: RedisServer) -> None:
    with restarted_after(own_redis, 50, 50) as store:
        view = read_stream(store.client, store.keys, IN)
        assert [(group.undelivered, group.waiting) for group in view.groups] == [(0, 0), (0, 0)]
        assert view.holders == ()


@pytest.mark.parametrize(("one", "two"), [(50, 20), (20, 20), (0, 50), (35, 40)])
def test_what_waits_is_right_on_a_server_that_was_killed(own_redis: RedisServer, one: int, two: int) -> None:
    with restarted_after(own_redis, one, two) as store:
        view = read_stream(store.client, store.keys, IN)
        assert [group.undelivered for group in view.groups] == [50 - one, 50 - two]
        assert view == read_stream(store.client, store.keys, IN, exact=True)


@contextmanager
def restarted_after(server: RedisServer, one: int, two: int) -> Iterator[RealStore]:
    """A store of which 50 messages were read and finished, so many by either reader, and the server killed."""
    client = connect(server.url)
    store = RealStore(client)
    store.apply()
    call(client, "HSET", store.keys.stream(IN).counts, "max_len", 100)
    for first in range(0, 50, 10):
        store.door().append([message(n) for n in range(first, first + 10)])
        for group, until in (("one", one), ("two", two)):
            hop = store.hop(group)
            if first < until:
                hop.finish("c", [(entry, Drop()) for entry in hop.read("c", min(10, until - first), 0)])
    client.close()
    server.kill()
    server.start()
    store.client = connect(server.url)
    yield store
    store.client.close()


def test_looking_changes_nothing(store: RealStore) -> None:
    store.door().append([message(n) for n in range(3)])
    before = {key: call(store.client, "DUMP", key) for key in call(store.client, "KEYS", "*")}
    read_streams(FLOW, {"main": store.client}, exact=True)
    read_lanes(FLOW, {"main": store.client})
    read_tallies(store.client, store.keys, list(FLOW.streams), list(FLOW.edges))
    read_alarms(FLOW, [store.client])
    assert {key: call(store.client, "DUMP", key) for key in call(store.client, "KEYS", "*")} == before


def test_the_lanes_of_edges(store: RealStore) -> None:
    assert read_lanes(FLOW, {"main": store.client}) == []
    store.door().append([message(n, SIDE) for n in range(3)])
    lane = store.lane()
    lease = lane.acquire("n1", 60_000, "line")
    frozen = freeze(lane, lease, 2)
    lane.pause("because")
    (view,) = read_lanes(FLOW, {"main": store.client})
    assert (view.edge, view.lane, view.lineage, view.seq, view.epoch) == ("copy", "main", "line", 0, 1)
    assert view.open is not None and (view.open.seq, view.open.count) == (1, 2)
    assert (view.frozen, view.settled, view.paused, view.holder) == (2, 0, "because", "n1")
    assert 0 < view.lease_left_ms <= 600_000
    lane.settle(lease, 60_000, frozen, 2, [])
    lane.release(lease)
    (view,) = read_lanes(FLOW, {"main": store.client})
    assert (view.open, view.settled, view.seq, view.position) == (None, 2, 1, frozen.last.decode())
    assert (view.holder, view.lease_left_ms) == ("", 0)
    assert (mids(store, SIDE), mids(store, LAST)) == (["m2"], [])


def test_alarms_and_processes(store: RealStore) -> None:
    raise_alarm(store.client, store.keys, "edge-paused", "copy", "schema drift")
    (alarm,) = read_alarms(FLOW, [store.client, store.client])
    assert (alarm.kind, alarm.subject, alarm.text) == ("edge-paused", "copy", "schema drift")
    beat(store.client, store.keys, "worker", "one@host.1", held=3)
    now = time.time()
    (process,) = read_processes(FLOW, [store.client], now)
    assert (process.kind, process.name, process.gone, process.facts) == ("worker", "one@host.1", False, {"held": 3})
    (process,) = read_processes(FLOW, [store.client], now + 11)
    assert process.gone and 10 < process.age_s < 13


def test_counters_of_many_streams(store: RealStore) -> None:
    store.door().append([message(1), message(2, OUT)])
    found = read_tallies(store.client, store.keys, [IN, OUT, "unknown"], ["copy"])
    assert (found.counts[IN]["from.door"], found.counts[OUT]["from.door"], found.counts["unknown"]) == (1, 1, {})
    assert found.lanes == {"copy": ()}


def test_where_readers_began_is_known_as_long_as_they_are_there(store: RealStore) -> None:
    store.door().append([message(1)])
    call(store.client, "XGROUP", "CREATE", store.keys.stream(LAST).stream, "mine", "0", "MKSTREAM")
    edges = (
        "edges:\n  late: {kind: s2ch, from: d.stream_in, to: warehouse.late, join: now}"
        "\n  mine: {kind: s2ch, from: d.stream_in, to: warehouse.mine}"
    )
    late = loads(TEXT.replace("edges:", edges).replace(", keep: {messages: 1000}", ""), Path("flow.yml"))
    before_ms = server_ms(store.client)
    apply(late, store.client)
    found = read_joins(store.client, store.keys, LAST)
    assert {name: join.where for name, join in found.items()} == {"late": "now", "mine": "found"}
    assert all(before_ms <= join.at_ms <= server_ms(store.client) for join in found.values())
    apply(late, store.client)
    assert read_joins(store.client, store.keys, LAST) == found
    assert undeclare(store.client, store.keys, LAST, "late") == 0
    assert set(read_joins(store.client, store.keys, LAST)) == {"mine"}
