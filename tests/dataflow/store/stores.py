"""One face for the double and for real servers, so that the same tests run on all of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from dataflow.audit import check_stream
from dataflow.flow.load import loads
from dataflow.flow.spec import Flow
from dataflow.store.deadletters import DeadLetters
from dataflow.store.declare import apply
from dataflow.store.door import Door, Outgoing
from dataflow.store.hop import Hop
from dataflow.store.keys import Keys, StreamKeys
from dataflow.store.lane import Lane
from dataflow.store.outcomes import Entry
from dataflow.store.reading import StreamView, read_stream
from dataflow.store.redis import Client, call
from dataflow.store.target import StreamTarget
from dataflow.testing.memory import Memory, MemoryDoor, MemoryHop, id_of, text_of
from dataflow.testing.memory_edge import MemoryLane, MemoryTarget

TEXT = """
flow: net
streams:
  a.stream_in: {max_len: 40, schema: {n: str}}
  b.stream_out: {max_len: 30, schema: {n: str}}
  c.stream_out: {max_len: 30, schema: {n: str}}
  d.stream_in: {max_len: 1000, schema: {n: str}, keep: {messages: 1000}}
workers:
  one: {from: a.stream_in, to: [b.stream_out, c.stream_out], handler: "steps:one", batch: 10}
  two: {from: a.stream_in, to: c.stream_out, handler: "steps:two", batch: 10}
edges:
  copy: {kind: s2s, from: c.stream_out, to: d.stream_in, batch: 10}
  archive: {kind: s2ch, from: b.stream_out, to: warehouse.scores, create_table: true}
"""
FLOW = loads(TEXT, Path("flow.yml"))
IN, OUT, SIDE, LAST = "a.stream_in", "b.stream_out", "c.stream_out", "d.stream_in"
TARGETS = {"one": (OUT, SIDE), "two": (SIDE,)}


class Store(Protocol):
    """What the tests ask of a store, real or not."""

    flow: Flow
    keys: Keys

    def door(self) -> Door:
        """A door."""

    def hop(self, group: str, stream: str = IN) -> Hop:
        """A reader's hop."""

    def lane(self, edge: str = "copy", *, retry: bool = False) -> Lane:
        """A lane of an edge."""

    def target(self, writer: str = "copy") -> StreamTarget:
        """The target streams of an edge."""

    def apply(self) -> None:
        """Declare the flow."""

    def fields(self, at: StreamKeys) -> list[tuple[bytes, list[bytes]]]:
        """Entries of a stream."""

    def view(self, stream: str) -> StreamView:
        """A stream and its readers."""

    def remove_by_hand(self, stream: str, id_: bytes) -> None:
        """Delete an entry behind everyone's back."""

    def lose_group(self, at: StreamKeys, group: str) -> None:
        """Lose a consumer group."""

    def replay(self, stream: str, group: str) -> int:
        """Give all dead letters back."""

    def fill(self) -> None:
        """Reach the memory limit."""

    def relieve(self) -> None:
        """Have memory again."""


@dataclass
class MemoryStore:
    """The double."""

    flow: Flow = FLOW
    keys: Keys = field(default_factory=lambda: Keys(FLOW.name))
    memory: Memory = field(default_factory=Memory)

    def door(self) -> Any:
        return MemoryDoor(self.memory, self.keys)

    def hop(self, group: str, stream: str = IN) -> Any:
        return MemoryHop(self.memory, self.keys, stream, group, targets(self.flow, group))

    def lane(self, edge: str = "copy", *, retry: bool = False) -> Any:
        return MemoryLane(self.memory, self.keys, self.flow.edges[edge].source, edge, retry=retry)

    def target(self, writer: str = "copy") -> Any:
        return MemoryTarget(self.memory, self.keys, writer, self.flow.edges[writer].target_streams)

    def apply(self) -> None:
        self.memory.apply(self.flow)

    def fields(self, at: StreamKeys) -> list[tuple[bytes, list[bytes]]]:
        return [(text_of(id_), fields) for id_, fields in self.memory.at(at).entries.items()]

    def view(self, stream: str) -> StreamView:
        return self.memory.view(self.keys, stream)

    def remove_by_hand(self, stream: str, id_: bytes) -> None:
        del self.memory.at(self.keys.stream(stream)).entries[id_of(id_)]

    def lose_group(self, at: StreamKeys, group: str) -> None:
        self.memory.lose_group(at, group)

    def replay(self, stream: str, group: str) -> int:
        return self.memory.replay(self.keys, stream, group)

    def fill(self) -> None:
        self.memory.full = True

    def relieve(self) -> None:
        self.memory.full = False


@dataclass
class RealStore:
    """A real server. A reader has one hop, which knows what its consumers hold."""

    client: Client
    flow: Flow = FLOW
    keys: Keys = field(default_factory=lambda: Keys(FLOW.name))
    hops: dict[tuple[str, str], Hop] = field(default_factory=dict)
    kind: type[Hop] = Hop

    def door(self) -> Door:
        return Door(self.client, self.keys)

    def hop(self, group: str, stream: str = IN) -> Hop:
        made = self.kind(self.client, self.keys, stream, group, targets(self.flow, group))
        return self.hops.setdefault((group, stream), made)

    def lane(self, edge: str = "copy", *, retry: bool = False) -> Lane:
        return Lane(self.client, self.keys, self.flow.edges[edge].source, edge, retry=retry)

    def target(self, writer: str = "copy") -> StreamTarget:
        return StreamTarget(self.client, self.keys, writer, self.flow.edges[writer].target_streams)

    def apply(self) -> None:
        apply(self.flow, self.client)

    def fields(self, at: StreamKeys) -> list[tuple[bytes, list[bytes]]]:
        return [(id_, fields) for id_, fields in call(self.client, "XRANGE", at.stream, "-", "+")]

    def view(self, stream: str) -> StreamView:
        return read_stream(self.client, self.keys, stream, self.flow.readers(stream), exact=True)

    def remove_by_hand(self, stream: str, id_: bytes) -> None:
        assert call(self.client, "XDEL", self.keys.stream(stream).stream, id_) == 1

    def lose_group(self, at: StreamKeys, group: str) -> None:
        assert call(self.client, "XGROUP", "DESTROY", at.stream, group) == 1

    def replay(self, stream: str, group: str) -> int:
        return self.letters(stream, group).replay_all()

    def letters(self, stream: str, group: str) -> DeadLetters:
        """The dead letters of a reader."""
        return DeadLetters(self.client, self.keys, stream, group)

    def fill(self) -> None:
        call(self.client, "CONFIG", "SET", "maxmemory", "1")

    def relieve(self) -> None:
        call(self.client, "CONFIG", "SET", "maxmemory", "0")


class ApartHop(Hop):
    """Reads everything apart. What comes back is read as usual, when nothing else is left."""

    def read(self, consumer: str, count: int, block_ms: int, *, apart: bool = False) -> list[Entry]:
        return super().read(consumer, count, block_ms, apart=True) or super().read(consumer, count, block_ms)


def targets(flow: Flow, group: str) -> tuple[str, ...]:
    """What a worker writes to; nothing for an edge."""
    return flow.workers[group].targets if group in flow.workers else ()


def message(n: int | str, stream: str = IN) -> Outgoing:
    """A message whose `_mid` is m<n>."""
    return Outgoing(stream, [b"_mid", b"m%s" % str(n).encode(), b"_path", b"", b"n", str(n).encode()])


def mid(fields: Sequence[bytes]) -> str:
    """The `_mid` of an entry."""
    return dict(zip(fields[::2], fields[1::2], strict=True))[b"_mid"].decode()


def mids(store: Store, stream: str = IN) -> list[str]:
    """The `_mid`s of a stream, in order."""
    return [mid(fields) for _, fields in store.fields(store.keys.stream(stream))]


def drifts(store: Store, stream: str = IN, *, foreign: bool = False) -> list[str]:
    """What the audit finds wrong with a stream and its readers; other writers too unless there are some."""
    wrong = ("drift",) if foreign else ("drift", "note")
    found = [finding for finding in check_stream(store.view(stream)) if finding.state in wrong]
    return [f"{f.check} {f.subject}: {f.equation}: {f.left} - {f.right} ({f.text})" for f in found]
