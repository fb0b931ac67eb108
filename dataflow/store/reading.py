"""Looking at a flow's Redis without changing it: depths, readers, lanes, alarms, processes.

Everything about one stream and its readers is read at one instant, so the numbers of one `StreamView` fit together;
those of two may be some milliseconds apart. `dataflow.audit` does the sums.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from dataflow.flow.spec import Flow
from dataflow.store.alarms import Alarm, alarms
from dataflow.store.keys import Keys
from dataflow.store.live import live
from dataflow.store.outcomes import LANES, LaneName
from dataflow.store.redis import Client, call
from dataflow.store.script import script

BENCH = "-"
"""The consumer that holds what was handed back until someone takes it."""

_WRITER = "from."


@dataclass(frozen=True, slots=True)
class Books:
    """What Redis and our own counters say of one stream.

    length: entries in it. added: entries it ever got by Redis' own count, None where Redis does not count (before
    7.0) or nothing was ever written. counts: our counters, see `dataflow.store.keys`.
    """

    exists: bool
    length: int
    added: int | None
    counts: Mapping[str, int]

    @property
    def removed(self) -> int:
        """Entries that we removed."""
        return self.counts.get("removed", 0)

    @property
    def depth(self) -> int:
        """Entries that someone needs: without those that an edge has settled and keeps for a while."""
        return max(0, self.length - self.counts.get("kept", 0))

    @property
    def ever_added(self) -> int:
        """Entries it ever got: by Redis' count, else what was counted when written or, with other writers, found."""
        if self.added is not None:
            return self.added
        return max(sum(self.written.values()), self.length + self.removed)

    @property
    def max_len(self) -> int | None:
        """Most entries it takes, None if it was never declared."""
        return self.counts.get("max_len")

    @property
    def written(self) -> dict[str, int]:
        """Entries by who wrote them: writer -> number."""
        return {name.removeprefix(_WRITER): n for name, n in self.counts.items() if name.startswith(_WRITER)}


@dataclass(frozen=True, slots=True)
class GroupView:
    """One reader of a stream. All numbers are messages.

    declared: it is in Redis' list of readers. exists: its consumer group is there. joined: additions to the stream
    that are not for it to do. undelivered and pending are of the stream itself; retry_undelivered and retry_pending
    of what came back to it. handled, filtered, dead, released, lost: what it has finished, by how.
    out: messages it wrote. next_due_ms: when the first parked message comes back (ms since 1970), None if none.
    """

    name: str
    declared: bool
    exists: bool
    joined: int
    undelivered: int
    pending: int
    retry_undelivered: int
    retry_pending: int
    parked: int
    next_due_ms: int | None
    handled: int
    filtered: int
    dead: int
    released: int
    lost: int
    out: int
    last_delivered: str
    retry: Books
    retry_exists: bool
    dead_letters: Books

    @property
    def retry_depth(self) -> int:
        """Messages that came back and are not finished."""
        return self.retry_undelivered + self.retry_pending

    @property
    def waiting(self) -> int:
        """Everything that it has not finished."""
        return self.undelivered + self.pending + self.retry_depth + self.parked

    @property
    def finished(self) -> int:
        """Everything that it has finished, one way or another."""
        return self.handled + self.filtered + self.dead + self.released + self.lost


@dataclass(frozen=True, slots=True)
class StreamView:
    """One stream and its readers at one instant."""

    name: str
    books: Books
    groups: tuple[GroupView, ...]

    @property
    def holders(self) -> tuple[str, ...]:
        """The readers for which entries of this stream are still needed, the most needing first."""
        behind = [group for group in self.groups if group.declared and group.undelivered + group.pending > 0]
        return tuple(g.name for g in sorted(behind, key=lambda g: g.undelivered + g.pending, reverse=True))

    @property
    def missing(self) -> tuple[str, ...]:
        """Declared readers whose consumer group is gone: nothing is removed until they are made again."""
        return tuple(group.name for group in self.groups if group.declared and not group.exists)


@dataclass(frozen=True, slots=True)
class OpenBatch:
    """A frozen batch that is not settled: its number in the lineage, its messages, when it was frozen."""

    seq: int
    count: int
    frozen_ms: int


@dataclass(frozen=True, slots=True)
class LaneView:
    """One lane of an edge.

    frozen and settled: messages since the lane began. position: the last entry that is settled. paused: the reason,
    "" if it is not paused. holder: who has the lease, "" for none.
    """

    edge: str
    lane: LaneName
    lineage: str
    seq: int
    epoch: int
    position: str
    open: OpenBatch | None
    frozen: int
    settled: int
    paused: str
    holder: str
    lease_left_ms: int


@dataclass(frozen=True, slots=True)
class Process:
    """A process by its last heartbeat. gone: it has not been heard of for ten seconds."""

    kind: str
    name: str
    age_s: float
    gone: bool
    facts: Mapping[str, Any]


def read_stream(
    redis: Client, keys: Keys, stream: str, readers: Sequence[str] = (), *, exact: bool = False
) -> StreamView:
    """Look at one stream.

    Args:
        readers: groups to look at beside those that are declared in Redis.
        exact: count what is undelivered instead of believing Redis and the counters. Costs a few microseconds for
            each entry on the shorter side of a group's position, during which Redis waits.

    Raises:
        ServerAway, OutcomeUnknown: nothing was changed.
    """
    declared = [name.decode() for name in call(redis, "HKEYS", keys.stream(stream).groups)]
    groups = list(dict.fromkeys((*readers, *declared)))
    at = keys.stream(stream)
    names = [at.stream, at.groups, at.counts]
    for group in groups:
        retry, dead = keys.retry(stream, group), keys.dead(stream, group)
        names += [retry.stream, retry.counts, keys.parked(stream, group), dead.stream, dead.counts]
    head, *parts = script("observe").run(redis, names, [int(exact), *groups])
    books = _books(head)
    return StreamView(stream, books, tuple(_group(g, p, books) for g, p in zip(groups, parts, strict=True)))


def read_streams(flow: Flow, clients: Mapping[str, Client], *, exact: bool = False) -> list[StreamView]:
    """Look at every stream of a flow, in the order of the flow file; see `read_stream`.

    Args:
        clients: connection name -> client, for every connection that has streams.
    """
    keys = Keys(flow.name)
    return [
        read_stream(clients[stream.on], keys, stream.name, flow.readers(stream.name), exact=exact)
        for stream in flow.streams.values()
    ]


@dataclass(frozen=True, slots=True)
class Join:
    """Where a reader began on its stream: at its `start`, with what came from `now` on, or its group was `found`
    there. at_ms: when (ms since 1970).
    """

    where: str
    at_ms: int


def read_joins(redis: Client, keys: Keys, stream: str) -> dict[str, Join]:
    """Reader -> where it began, of the declared readers of a stream. Raises ServerAway, OutcomeUnknown."""
    found = _table(call(redis, "HGETALL", keys.joins(stream)))
    parts = {group: value.decode().split() for group, value in found.items()}
    return {group: Join(where, int(at_ms)) for group, (where, at_ms) in parts.items()}


@dataclass(frozen=True, slots=True)
class Tallies:
    """Our counters of many streams and the lanes of many edges, all at one instant.

    counts: stream -> counter -> number. lanes: edge -> its lanes that ever ran.
    """

    counts: Mapping[str, Mapping[str, int]]
    lanes: Mapping[str, tuple[LaneView, ...]]


def read_tallies(redis: Client, keys: Keys, streams: Sequence[str], edges: Sequence[str] = ()) -> Tallies:
    """Read the counters of streams and the lanes of edges on one server, at one instant."""
    names = [keys.stream(name).counts for name in streams]
    names += [keys.edge(edge, retry=lane == "retry") for edge in edges for lane in LANES]
    answers = iter(script("tallies").run(redis, names, []))
    now_ms = server_ms(redis)
    counts = {name: _counts(next(answers)) for name in streams}
    lanes = {edge: tuple(filter(None, [_lane(edge, lane, next(answers), now_ms) for lane in LANES])) for edge in edges}
    return Tallies(counts, lanes)


def read_lanes(flow: Flow, clients: Mapping[str, Client]) -> list[LaneView]:
    """Every lane of the flow's edges that ever ran, in the order of the flow file; the main lane first."""
    found: dict[str, tuple[LaneView, ...]] = {}
    for connection, client in clients.items():
        edges = [edge.name for edge in flow.edges.values() if flow.streams[edge.anchor].on == connection]
        found |= read_tallies(client, Keys(flow.name), [], edges).lanes
    return [lane for edge in flow.edges for lane in found.get(edge, ())]


def read_alarms(flow: Flow, clients: Iterable[Client]) -> list[Alarm]:
    """Every alarm that is up on any of the servers, oldest first."""
    found = {alarm for client in clients for alarm in alarms(client, Keys(flow.name))}
    return sorted(found, key=lambda alarm: (alarm.at_ms, alarm.kind, alarm.subject))


def read_processes(flow: Flow, clients: Iterable[Client], now_s: float | None = None) -> list[Process]:
    """Every process of the flow that was heard of within the last hour, by kind and name.

    Args:
        now_s: seconds since 1970; None takes the clock.
    """
    now = time.time() if now_s is None else now_s
    newest: dict[tuple[str, str], Process] = {}
    for client in clients:
        for one in live(client, Keys(flow.name)):
            age_s = one.age_s(now)
            known = newest.get((one.kind, one.process))
            if known is None or age_s < known.age_s:
                newest[one.kind, one.process] = Process(
                    one.kind, one.process, round(age_s, 3), one.is_silent(now), one.facts
                )
    return [newest[name] for name in sorted(newest)]


def server_ms(redis: Client) -> int:
    """The server's clock, in ms since 1970."""
    seconds, micros = call(redis, "TIME")
    return int(seconds) * 1000 + int(micros) // 1000


def _group(name: str, part: list[Any], books: Books) -> GroupView:
    (
        frontier, exists, undelivered, pending, last,
        retry, retry_exists, retry_undelivered, retry_pending, parked, due, dead,
    ) = part  # fmt: skip
    count = books.counts.get
    back = _books(retry)
    view = GroupView(
        name=name,
        declared=frontier != b"",
        exists=bool(exists),
        joined=count(f"{name}.joined", 0),
        undelivered=_without(undelivered, count(f"{name}.kept", 0)),
        pending=pending,
        retry_undelivered=_without(retry_undelivered, back.counts.get(f"{name}.kept", 0)),
        retry_pending=retry_pending,
        parked=parked,
        next_due_ms=int(float(due)) if due else None,
        handled=count(f"{name}.handled", 0),
        filtered=count(f"{name}.filtered", 0),
        dead=count(f"{name}.dead", 0),
        released=count(f"{name}.released", 0),
        lost=count(f"{name}.lost", 0),
        out=count(f"{name}.out", 0),
        last_delivered=last.decode(),
        retry=back,
        retry_exists=bool(retry_exists),
        dead_letters=_books(dead),
    )
    if undelivered >= 0 and retry_undelivered >= 0:
        return view
    return _by_the_books(view, books)


def _without(undelivered: int, kept: int) -> int:
    """Undelivered messages without those that an edge has settled and keeps; -1, not known, stays so."""
    return undelivered if undelivered < 0 else max(0, undelivered - kept)


def _by_the_books(view: GroupView, books: Books) -> GroupView:
    """What is undelivered where it is too much to be counted and Redis does not tell: what the counters leave."""
    if view.retry_undelivered < 0:
        view = replace(view, retry_undelivered=view.retry.depth - view.retry_pending)
    if view.undelivered < 0:
        rest = books.ever_added - view.joined - (view.waiting - view.undelivered) - view.finished
        view = replace(view, undelivered=max(0, rest))
    return view


def _books(part: list[Any]) -> Books:
    exists, length, added, counts = part
    return Books(bool(exists), length, None if added == b"" else int(added), _counts(counts))


def _counts(flat: Sequence[bytes]) -> dict[str, int]:
    return {name: int(value) for name, value in _table(flat).items()}


def _table(flat: Sequence[Any]) -> dict[str, Any]:
    return {name.decode(): value for name, value in zip(flat[::2], flat[1::2], strict=True)}


def _lane(edge: str, lane: LaneName, flat: Sequence[bytes], now_ms: int) -> LaneView | None:
    state = {name: value.decode() for name, value in _table(flat).items()}
    if "lineage" not in state:
        return None
    left_ms = max(0, int(state.get("until_ms", 0)) - now_ms)
    return LaneView(
        edge=edge,
        lane=lane,
        lineage=state["lineage"],
        seq=int(state["seq"]),
        epoch=int(state["epoch"]),
        position=state["position"],
        open=_open_batch(state),
        frozen=int(state.get("frozen", 0)),
        settled=int(state.get("settled", 0)),
        paused=state.get("paused", ""),
        holder=state.get("nonce", "") if left_ms else "",
        lease_left_ms=left_ms,
    )


def _open_batch(state: Mapping[str, str]) -> OpenBatch | None:
    if "open_seq" not in state:
        return None
    return OpenBatch(int(state["open_seq"]), int(state["open_count"]), int(state["open_frozen_ms"]))
