"""A Redis that runs out of memory: those who fill it wait, those who empty it never do."""

from __future__ import annotations

import pytest

from dataflow.errors import ServerFull
from dataflow.store import declare
from dataflow.store.hop import Hop
from dataflow.store.memory import DOOR_MARK, LOOK_S, EvictingServer, Gauge, check_at_start, check_settings, read_memory
from dataflow.store.outcomes import Dead, Drop, Entry, Out, Outcome, Park
from dataflow.store.redis import call, connect
from dataflow.testing.servers import RedisServer
from tests.dataflow.store.store_contract import LONG_MS, freeze
from tests.dataflow.store.stores import IN, LAST, OUT, SIDE, RealStore, drifts, message

pytestmark = pytest.mark.integration

WORKERS = "one", "two"


class Clock:
    """Stands still until it is moved."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def limit(store: RealStore, share: float) -> None:
    """Set maxmemory so that so much of it is used."""
    call(store.client, "CONFIG", "SET", "maxmemory", int(read_memory(store.client).used / share))


class TestAtTheLimit:
    def test_the_flow_drains_to_empty(self, store: RealStore) -> None:
        """Handled, filtered, failed for good and for a while, replayed, sent on and stored: all without memory."""
        store.door().append([message(n) for n in range(30)])
        store.fill()
        with pytest.raises(ServerFull):
            store.door().append([message(40)])
        for name in WORKERS:
            hop = store.hop(name)
            work(hop, spoiled=True)
            assert store.replay(IN, name) == 6
            while store.view(IN).groups[WORKERS.index(name)].waiting:
                hop.wake()
                work(hop)
                move(store)
        left = {name: len(store.fields(store.keys.stream(name))) for name in (IN, OUT, SIDE)}
        assert left == {IN: 0, OUT: 0, SIDE: 0}
        assert len(store.fields(store.keys.stream(LAST))) == 24, "of two, all but what was filtered"
        assert [drift for name in (IN, OUT, SIDE) for drift in drifts(store, name)] == []

    def test_a_reader_that_is_gone_can_be_released(self, store: RealStore) -> None:
        store.door().append([message(n) for n in range(10)])
        store.fill()
        assert declare.undeclare(store.client, store.keys, IN, "one", release=True) == 0
        assert store.view(IN).holders == ("two",)

    def test_the_flow_can_be_applied(self, store: RealStore) -> None:
        store.fill()
        store.apply()


def work(hop: Hop, *, spoiled: bool = False) -> None:
    """Handle everything that can be read; `spoiled`: a part of it fails, and a part is filtered."""
    while entries := hop.read("c", 10, 0):
        hop.finish("c", [(entry, _outcome(entry, spoiled)) for entry in entries])


def _outcome(entry: Entry, spoiled: bool) -> Outcome:
    n = int(entry.fields[-1])
    if spoiled and n % 5 == 0:
        return Dead("broken", "no", 1)
    if spoiled and n % 5 == 1:
        return Park(0, 1)
    if n % 5 == 2:
        return Drop()
    return Out([(0, entry.fields[-2:])])


def move(store: RealStore) -> None:
    """What the edges do: one into a table, one into a stream of the same server."""
    archive, copy = store.lane("archive"), store.lane("copy")
    for lane in (archive, copy):
        lease = lane.acquire("n", LONG_MS, f"lineage-{lane is copy}")
        while lane.read(lease.position, 1)[0]:
            frozen = freeze(lane, lease)
            if lane is copy:
                ids, rows = lane.reread(frozen)
                rows_to = store.target().pack((0, row) for row in rows)
                store.target().place(lease.lineage, lease.epoch, frozen.seq, frozen.digest, ids, rows_to)
            lane.settle(lease, LONG_MS, frozen, frozen.count, [])
            lease = lane.acquire("n", LONG_MS, "")


class TestGauge:
    def test_without_a_limit_nobody_waits(self, store: RealStore) -> None:
        Gauge(store.client).check(0.0001)
        assert read_memory(store.client).share == 0

    def test_above_the_mark_one_waits(self, store: RealStore) -> None:
        limit(store, 0.75)
        with pytest.raises(ServerFull, match=r"uses 7.% of its memory limit, and above 70%"):
            Gauge(store.client).check(DOOR_MARK)
        Gauge(store.client).check(0.95)

    def test_a_look_is_good_for_a_while(self, store: RealStore) -> None:
        clock = Clock()
        gauge = Gauge(store.client, clock)
        gauge.check(DOOR_MARK)
        limit(store, 0.75)
        gauge.check(DOOR_MARK)
        clock.now += LOOK_S
        with pytest.raises(ServerFull):
            gauge.check(DOOR_MARK)

    def test_a_worker_waits_while_its_readers_can_empty_what_it_fills(self, store: RealStore) -> None:
        store.door().append([message(1), message(2, OUT)])
        store.fill()
        hop = store.hop("one")
        with pytest.raises(ServerFull):
            hop.wait_for_memory()
        move(store)
        hop.wait_for_memory()

    def test_a_stream_without_a_reader_holds_nobody_up(self, store: RealStore) -> None:
        store.door().append([message(1, LAST)])
        store.fill()
        Gauge(store.client).check_ahead(0.5, [store.keys.stream(LAST)])


class TestSettings:
    def test_a_server_that_would_evict_is_refused_before_anything_is_changed(self, both_redis_url: str) -> None:
        client = connect(both_redis_url)
        call(client, "CONFIG", "SET", "maxmemory-policy", "allkeys-lru")
        try:
            with pytest.raises(EvictingServer, match="allkeys-lru"):
                RealStore(client).apply()
            assert call(client, "DBSIZE") == 0
        finally:
            call(client, "CONFIG", "SET", "maxmemory-policy", "noeviction")
            client.close()

    def test_one_without_an_append_only_file_is_warned_of(self) -> None:
        with RedisServer(settings={"appendonly": "no"}) as server:
            client = connect(server.url)
            (warning,) = check_settings(client)
            assert "appendonly yes" in warning
            client.close()

    def test_a_process_that_starts_warns_and_goes_on(self, caplog: pytest.LogCaptureFixture) -> None:
        with RedisServer(settings={"appendonly": "no"}) as server:
            client = connect(server.url)
            check_at_start(client)
            assert "has no append-only file" in caplog.text
        check_at_start(client)  # away: whoever starts waits for it anyway
        client.close()

    def test_one_as_we_start_it_is_fine(self, store: RealStore) -> None:
        assert check_settings(store.client) == []
