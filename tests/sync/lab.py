"""A small net on real servers, for the tests of runners: fill a stream, run an edge, break it at a step, look."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from dataflow.flow.load import loads
from dataflow.flow.spec import Edge, Flow
from dataflow.message import MID, Codec, meta
from dataflow.store.declare import apply
from dataflow.store.door import Door, Outgoing
from dataflow.store.keys import Keys
from dataflow.store.lane import Confirmed, Lane
from dataflow.store.redis import Client, call, connect
from sync.run import Run
from sync.runner import Runner
from sync.sink import Row, Sink
from sync.sinks.stream import StreamSink
from sync.source import LaneName, Source, StreamSource

NET = """
flow: water
streams:
  a.stream_in: {}
  b.stream_in: {keep: {messages: 100000}, max_len: 1000, schema: {n: int}}
edges:
  move: {kind: s2s, from: a.stream_in, to: b.stream_in, batch: 10}
"""

ROUTED = """
flow: water
streams:
  a.stream_in: {}
  red.stream_in: {keep: {messages: 100000}, schema: {n: int}}
  blue.stream_in: {keep: {messages: 100000}, max_len: 100}
edges:
  move:
    kind: s2s
    from: a.stream_in
    batch: 10
    route: {by: colour, cases: {red: red.stream_in, blue: blue.stream_in}}
"""


class Lab:
    """A flow with one edge, its source on one server and its target on the same or another one.

    Args:
        url: of the source, and of the target unless that has its own.
        text: the flow; one edge.
        options: fields of the edge to set otherwise.
    """

    def __init__(self, url: str, text: str = NET, target_url: str | None = None, **options: Any) -> None:
        flow = loads(text)
        (edge,) = flow.edges.values()
        self.edge: Edge = replace(edge, **options)
        self.flow: Flow = replace(flow, edges={edge.name: self.edge})
        self.keys = Keys(flow.name)
        self.redis_url = url
        self.redis: Client = connect(url)
        self.target: Client = connect(target_url or url)
        self.codec = Codec(None)
        self.filled = 0
        self.declare()

    def declare(self) -> None:
        """Apply the flow, to both servers."""
        apply(self.flow, self.redis)
        if self.target is not self.redis:
            apply(self.flow, self.target)

    def close(self) -> None:
        self.redis.close()
        self.target.close()

    # messages

    def fill(self, count: int, **fields: Any) -> None:
        """Append messages m0, m1, ... with n = 0, 1, ..."""
        numbers = range(self.filled, self.filled + count)
        rows = [meta(f"m{n}", "hub@1") + self.codec.encode({"n": n, **fields}) for n in numbers]
        self.filled += count
        for first in range(0, count, 500):
            part = rows[first : first + 500]
            Door(self.redis, self.keys).append([Outgoing(self.edge.source, row) for row in part])

    def append_raw(self, *fields: bytes) -> bytes:
        """What another program does: XADD. Returns the entry's id."""
        id_: bytes = call(self.redis, "XADD", self.keys.stream(self.edge.source).stream, "*", *fields)
        return id_

    def entries(self, stream: str, redis: Client | None = None) -> list[Row]:
        found = call(redis or self.target, "XRANGE", self.keys.stream(stream).stream, "-", "+")
        return [entry[1] for entry in found]

    def arrived(self) -> list[str]:
        """Message ids at all targets, in order per target."""
        rows = [row for name in self.edge.target_streams for row in self.entries(name)]
        return [field(row, MID) for row in rows]

    def waiting(self) -> int:
        """Entries at the source that are not settled."""
        return len(self.entries(self.edge.source, self.redis)) - self.counts().get("kept", 0)

    def dead(self) -> list[dict[str, str]]:
        """Dead letters of the edge as dicts."""
        found = call(self.redis, "XRANGE", self.keys.dead(self.edge.source, self.edge.name).stream, "-", "+")
        return [as_dict(entry[1]) for entry in found]

    def empty_target(self) -> None:
        """What the readers of the targets do."""
        for name in self.edge.target_streams:
            call(self.target, "XTRIM", self.keys.stream(name).stream, "MAXLEN", "=", 0)

    def each_once(self) -> None:
        """Every message that was filled in arrived once, in order, and nothing is left."""
        assert self.arrived() == [f"m{n}" for n in range(self.filled)]
        assert self.waiting() == 0
        self.books_balance()

    def books_balance(self) -> None:
        """What was read is handled, dead, or still there."""
        counts = self.counts()
        name = self.edge.name
        known = counts.get(f"{name}.handled", 0) + counts.get(f"{name}.dead", 0) + counts.get(f"{name}.lost", 0)
        assert known + self.waiting() == counts.get("from.door", 0)
        assert int(self.lane_state()["frozen"]) >= int(self.lane_state()["settled"])

    def counts(self) -> dict[str, int]:
        flat = call(self.redis, "HGETALL", self.keys.stream(self.edge.source).counts)
        return {name.decode(): int(value) for name, value in zip(flat[::2], flat[1::2], strict=True)}

    # runners

    def source(self, lane: LaneName = "main") -> StreamSource:
        return StreamSource(self.flow, self.edge, self.redis, lane)

    def sink(self) -> StreamSink:
        return StreamSink(self.flow, self.edge, self.target)

    def runner(
        self, source: Source | None = None, make_sink: Callable[[], Sink] | None = None, lane: LaneName = "main"
    ) -> Runner:
        return Runner(self.edge, source or self.source(lane), make_sink or self.sink)

    def run(self, max_batches: int | None = None, lane: LaneName = "main") -> Run:
        """One run by a runner of its own."""
        runner = self.runner(lane=lane)
        try:
            return runner.run(max_batches)
        finally:
            runner.leave()

    def confirm(self) -> int:
        """As if the target had had its seconds: what it has is confirmed. Returns batches that are not."""
        source, told = self.source(), Confirmed()
        for _ in range(2):
            lease = source.acquire("the one who asks", 60_000, "new")
            marker = self.sink().handshake(lease.lineage, lease.epoch)
            assert marker is not None
            told = source.confirm(lease, marker.run_id, marker.seq, marker.digest, lease.at_ms, wait_ms=0)
        source.release(lease)
        return told.unconfirmed

    def lane(self, lane: LaneName = "main") -> Lane:
        return self.source(lane)

    def lane_state(self, lane: LaneName = "main") -> dict[str, str]:
        flat = call(self.redis, "HGETALL", self.keys.edge(self.edge.name, retry=lane == "retry"))
        return as_dict(flat)

    def expire_lease(self, lane: LaneName = "main") -> None:
        """Let the time of a lease pass."""
        call(self.redis, "HSET", self.keys.edge(self.edge.name, retry=lane == "retry"), "until_ms", 1)


class Crash(BaseException):
    """The process died here."""


class Tripwire:
    """Stands before a source or a sink and does something before or after the n-th call of one method.

    Args:
        inner: the real one.
        method: name of the method.
        when: "before" the call, or "after" it took effect and before the caller hears of it.
        act: what happens; may raise.
        nth: the call at which it happens, counted from 1.
    """

    def __init__(self, inner: Any, method: str, when: str, act: Callable[[], None], nth: int = 1) -> None:
        self._inner, self._method, self._when, self._act, self._left = inner, method, when, act, nth

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._inner, name)
        return partial(self._tripped, value) if name == self._method else value

    def _tripped(self, method: Callable[..., Any], *args: Any, **options: Any) -> Any:
        self._left -= 1
        if self._left == 0 and self._when == "before":
            self._act()
        result = method(*args, **options)
        if self._left == 0 and self._when == "after":
            self._act()
        return result


STEPS: Sequence[tuple[str, str]] = (
    ("source", "acquire"),
    ("sink", "handshake"),
    ("source", "read"),
    ("sink", "prepare"),
    ("source", "freeze"),
    ("sink", "write"),
    ("source", "settle"),
)
"""The steps of a run, as calls: of the source or of the sink."""


def tripped(lab: Lab, end: str, method: str, when: str, act: Callable[[], None], nth: int = 1) -> Runner:
    """A runner that does something at one step."""
    if end == "source":
        return lab.runner(source=Tripwire(lab.source(), method, when, act, nth))
    wire = Tripwire(lab.sink(), method, when, act, nth)
    return lab.runner(make_sink=lambda: wire)


def field(row: Row, name: bytes) -> str:
    return row[row.index(name) + 1].decode()


def as_dict(flat: Sequence[bytes]) -> dict[str, str]:
    return {name.decode(): value.decode(errors="replace") for name, value in zip(flat[::2], flat[1::2], strict=True)}


def until(condition: Callable[[], bool], timeout_s: float = 20.0) -> None:
    """Poll until the condition holds; fail after the deadline."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "timed out"
        time.sleep(0.01)
