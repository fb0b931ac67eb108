"""Room on a cycle of streams: who comes in finds all of it counted, who closes it always finds room."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import pytest

from dataflow.errors import StreamFull
from dataflow.flow.load import loads
from dataflow.store.outcomes import Out
from dataflow.store.redis import connect
from tests.dataflow.store.stores import MemoryStore, RealStore, Store, drifts, message, mids

TEXT = """
flow: net
streams:
  side.stream_in: {max_len: 100}
  a.stream_in: {max_len: 40}
  a.stream_out: {max_len: 30}
workers:
  one: {from: a.stream_in, to: a.stream_out, handler: "m:f", batch: 10}
edges:
  enter: {kind: s2s, from: side.stream_in, to: a.stream_in, batch: 10}
  again: {kind: s2s, from: a.stream_out, to: a.stream_in, batch: 10, max_hops: 8}
"""
FLOW = loads(TEXT, environ={})
IN, OUT = "a.stream_in", "a.stream_out"


@dataclass
class Ring:
    """The net above on one store."""

    store: Store

    def enter(self, count: int, stream: str = IN) -> None:
        self.store.door().append([message(n, stream) for n in range(count)])

    def work(self, count: int) -> None:
        """The worker's hop, for so many messages."""
        hop = self.store.hop("one", IN)
        entries = hop.read("c", count, 0)
        assert len(entries) == count
        hop.finish("c", [(entry, Out([(0, message(n).fields)])) for n, entry in enumerate(entries)])

    def place(self, writer: str, count: int, seq: int = 1) -> bool:
        """A batch of an edge into the stream in which the cycle begins."""
        rows = self.store.target(writer).pack((0, message(n).fields) for n in range(count))
        ids = [b"%d-1" % n for n in range(count)]
        return self.store.target(writer).place(f"of-{writer}", 1, seq, f"{writer}{seq}", ids, rows)


class CycleContract:
    """What every store promises."""

    def test_who_comes_in_finds_all_streams_counted(self, ring: Ring) -> None:
        ring.enter(35)
        ring.work(25)
        assert (len(mids(ring.store, IN)), len(mids(ring.store, OUT))) == (10, 25)
        with pytest.raises(StreamFull, match="35 of 40"):
            ring.enter(6)
        with pytest.raises(StreamFull, match="35 of 40"):
            ring.place("enter", 6)
        ring.enter(5)
        assert drifts(ring.store, IN) == drifts(ring.store, OUT) == []

    def test_who_closes_it_finds_room_always(self, ring: Ring) -> None:
        ring.enter(40)
        ring.work(10)
        assert ring.place("again", 30)
        assert ring.place("again", 30, seq=2)
        assert len(mids(ring.store, IN)) == 90
        assert drifts(ring.store, IN) == []

    def test_who_goes_on_inside_finds_the_room_of_the_next_stream(self, ring: Ring) -> None:
        ring.enter(40)
        ring.work(10)
        ring.work(20)
        with pytest.raises(StreamFull, match="30 of 30"):
            ring.work(1)

    def test_a_stream_is_on_a_cycle_no_longer_than_the_flow_says(self, ring: Ring) -> None:
        ring.enter(35)
        ring.work(25)
        edges = {name: edge for name, edge in FLOW.edges.items() if name != "again"}
        ring.store.flow = replace(FLOW, edges=edges)
        ring.store.apply()
        ring.enter(30)
        with pytest.raises(StreamFull, match="40 of 40"):
            ring.enter(1)


class TestMemory(CycleContract):
    """The double."""

    @pytest.fixture
    def ring(self) -> Ring:
        store = MemoryStore(FLOW)
        store.apply()
        return Ring(store)


@pytest.mark.integration
class TestRedis(CycleContract):
    """Real servers, each version that this machine has."""

    @pytest.fixture
    def ring(self, both_redis_url: str) -> Iterator[Ring]:
        client = connect(both_redis_url)
        store = RealStore(client, FLOW)
        store.apply()
        yield Ring(store)
        client.close()
