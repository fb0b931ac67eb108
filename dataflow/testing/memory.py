"""Streams, readers and the door in memory: the double of `dataflow.store` for tests of the rooms, without a server.

    memory = Memory()
    memory.apply(flow)
    hop = MemoryHop(memory, Keys(flow.name), "a.stream_in", "one", ["a.stream_out"])

Same public methods, same promises, same errors; the contract suite in tests/dataflow/store/ runs on the double and on
real servers. It differs in this: nothing blocks (`read` returns at once), and nothing can be away. Not for several
threads. The lanes of edges are in `dataflow.testing.memory_edge`.
"""

from __future__ import annotations

import time
from bisect import insort
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from dataflow.errors import NotDeclared, ServerFull, StreamFull
from dataflow.flow.spec import Flow
from dataflow.message import SINCE, message_id, meta
from dataflow.store.declare import DEAD_MAX_LEN, RETRY_MAX_LEN
from dataflow.store.door import MAX_MESSAGES, Alike, Appended, KeyReused, Outgoing, Outgoings, Record, Stamp, per_stream
from dataflow.store.keys import Keys, StreamKeys
from dataflow.store.outcomes import LANES, Dead, Drop, Entry, Finished, LaneName, Out, Outcome, Park
from dataflow.store.parcels import MAX_ENTRIES, pieces
from dataflow.store.reading import BENCH, Books, GroupView, StreamView

Id = tuple[int, int]
"""A stream id as its two numbers."""

ZERO: Id = (0, 0)
_LONG_IDLE_MS = 86_400_000


def id_of(text: bytes) -> Id:
    """Read a stream id."""
    ms, _, seq = text.partition(b"-")
    return int(ms), int(seq)


def text_of(id_: Id) -> bytes:
    """Write a stream id."""
    return b"%d-%d" % id_


@dataclass(slots=True)
class Claim:
    """An entry in a consumer's hands since a time in ms."""

    consumer: str
    since_ms: int


@dataclass(slots=True)
class Group:
    """A consumer group: the last entry it was given, and what it has in hand."""

    last: Id = ZERO
    pending: dict[Id, Claim] = field(default_factory=dict)


@dataclass(slots=True)
class Stream:
    """A stream with its declared readers (name -> frontier) and its counters.

    `cycle`: the streams of the cycle that it lies on; `inside`: who writes inside it; `closing`: it is closed here.
    """

    entries: dict[Id, list[bytes]] = field(default_factory=dict)
    max_len: int | None = None
    added: int = 0
    last: Id = ZERO
    groups: dict[str, Group] = field(default_factory=dict)
    frontiers: dict[str, Id] = field(default_factory=dict)
    cycle: Sequence[Stream] = ()
    inside: frozenset[str] = frozenset()
    closing: bool = False
    counts: Counter[str] = field(default_factory=Counter)

    def append(self, fields: Sequence[bytes], writer: str, now_ms: int) -> Id:
        """Add one entry and count it."""
        self.last = max((now_ms, 0), (self.last[0], self.last[1] + 1))
        self.entries[self.last] = list(fields)
        self.added += 1
        self.counts[f"from.{writer}"] += 1
        return self.last

    def after(self, position: Id) -> list[Id]:
        """Ids after a position, in order."""
        return [id_ for id_ in self.entries if id_ > position]

    def first_unfinished(self, group: str) -> Id | None:
        """The first entry that a group has not finished."""
        state = self.groups[group]
        return min(state.pending) if state.pending else next(iter(self.after(state.last)), None)

    def advance(self, group: str, ids: Iterable[Id] = ()) -> int:
        """Note a group's frontier and delete what every declared group has finished. Returns how many."""
        if group in self.groups and group in self.frontiers:
            first = self.first_unfinished(group)
            in_hand = first is not None and first in self.groups[group].pending
            self.frontiers[group] = (first[0], first[1] - 1) if first and in_hand else self.groups[group].last
        if not self.frontiers or any(name not in self.groups for name in self.frontiers):
            return 0
        firsts = [self.first_unfinished(name) for name in self.frontiers]
        low = min((first for first in firsts if first is not None), default=None)
        done = [id_ for id_ in self.entries if low is None or id_ < low]
        done += [id_ for id_ in ids if id_ in self.entries and id_ not in done and self._finished_by_all(id_)]
        for id_ in done:
            del self.entries[id_]
        self.counts["removed"] += len(done)
        return len(done)

    def _finished_by_all(self, id_: Id) -> bool:
        states = [self.groups[name] for name in self.frontiers]
        return all(id_ <= state.last and id_ not in state.pending for state in states)


@dataclass(order=True, slots=True)
class _Parked:
    due_ms: int
    origin: str
    attempts: int = field(compare=False)
    fields: list[bytes] = field(compare=False)


class Memory:
    """What a Redis would hold of one flow.

    Args:
        now_ms: the clock, in ms since 1970.

    Attributes:
        full: set it to behave as a server at its memory limit: what only adds is refused, what drains goes on.
    """

    def __init__(self, now_ms: Callable[[], int] | None = None) -> None:
        self.now_ms = now_ms or (lambda: int(time.time() * 1000))
        self.full = False
        self.streams: dict[str, Stream] = {}
        self.parked: dict[str, list[_Parked]] = {}
        self.attempts: dict[str, Counter[str]] = {}
        self.records: dict[str, tuple[Record, int]] = {}
        self.lanes: dict[str, Any] = {}
        self.markers: dict[str, Any] = {}

    def apply(self, flow: Flow) -> None:
        """Declare the streams and readers of a flow; make lost groups again where they stood."""
        keys = Keys(flow.name)
        for stream in flow.streams.values():
            self._declare(keys.stream(stream.name), stream.max_len)
            self._lay_on_cycle(flow, keys, stream.name)
            for group in flow.readers(stream.name):
                edge = flow.edges.get(group)
                self._join(self.at(keys.stream(stream.name)), group, "start" if edge is None else edge.join)
                self._declare(keys.retry(stream.name, group), RETRY_MAX_LEN)
                self._join(self.at(keys.retry(stream.name, group)), group, "start")
                self._declare(keys.dead(stream.name, group), DEAD_MAX_LEN)

    def at(self, keys: StreamKeys) -> Stream:
        """The stream under these keys."""
        return self.streams.setdefault(keys.stream, Stream())

    def lose_group(self, keys: StreamKeys, group: str) -> None:
        """Forget a consumer group, as a server that lost its last writes would."""
        del self.at(keys).groups[group]

    def replay(self, keys: Keys, stream: str, group: str) -> int:
        """Give all dead letters of a reader back to it. Returns how many."""
        dead, retry = self.at(keys.dead(stream, group)), self.at(keys.retry(stream, group))
        letters = list(dead.entries.values())
        for fields in letters:
            texts = dict(zip(fields[::2], fields[1::2], strict=True))
            origin = texts.get(b"_origin", b"main/" + texts[b"_dead_id"])
            kept = without(fields, (b"_origin", b"_attempt", SINCE))
            retry.append([b"_attempt", b"0", b"_origin", origin, *kept], "dead", self.now_ms())
        dead.entries.clear()
        dead.counts["removed"] += len(letters)
        self.at(keys.stream(stream)).counts[f"{group}.dead"] -= len(letters)
        return len(letters)

    def view(self, keys: Keys, stream: str) -> StreamView:
        """A stream and its readers, as `dataflow.store.reading` shows a real one."""
        at = self.at(keys.stream(stream))
        return StreamView(stream, _books(at), tuple(self._view(keys, stream, group) for group in at.frontiers))

    def _view(self, keys: Keys, stream: str, name: str) -> GroupView:
        at, retry, dead = self.at(keys.stream(stream)), self.at(keys.retry(stream, name)), keys.dead(stream, name)
        group, back = at.groups.get(name), retry.groups.get(name)
        parked = self.parked.get(keys.parked(stream, name), [])
        ways = ("joined", "handled", "filtered", "dead", "released", "lost", "out")
        return GroupView(
            name=name,
            declared=True,
            exists=group is not None,
            undelivered=len(at.after(group.last)) if group else 0,
            pending=len(group.pending) if group else 0,
            retry_undelivered=len(retry.after(back.last)) if back else 0,
            retry_pending=len(back.pending) if back else 0,
            parked=len(parked),
            next_due_ms=parked[0].due_ms if parked else None,
            last_delivered=text_of(group.last).decode() if group else "",
            retry=_books(retry),
            retry_exists=back is not None,
            dead_letters=_books(self.at(dead)),
            **{way: at.counts[f"{name}.{way}"] for way in ways},
        )

    def _declare(self, keys: StreamKeys, max_len: int) -> None:
        self.at(keys).max_len = max_len

    def _lay_on_cycle(self, flow: Flow, keys: Keys, name: str) -> None:
        stream, cycle = self.at(keys.stream(name)), flow.cycle(name)
        stream.cycle = [self.at(keys.stream(one)) for one in cycle.streams] if cycle else ()
        stream.inside = cycle.steps if cycle else frozenset()
        stream.closing = cycle is not None and name in cycle.closing

    def _join(self, stream: Stream, group: str, join: str) -> None:
        if group in stream.frontiers:
            stream.groups.setdefault(group, Group(stream.frontiers[group]))
            return
        last = stream.last if join == "now" else ZERO
        stream.groups[group] = Group(last)
        stream.frontiers[group] = last
        stream.counts[f"{group}.joined"] = stream.added - len(stream.after(last))


class MemoryDoor:
    """The double of `dataflow.store.door.Door`."""

    def __init__(self, memory: Memory, keys: Keys) -> None:
        self._memory, self._keys = memory, keys

    def append(
        self,
        outgoing: Outgoings,
        *,
        writer: str = "door",
        record: Record | None = None,
        stamp: Stamp | None = None,
    ) -> Appended:
        """Store all messages, or none; see the original."""
        number = sum(per_stream(outgoing).values())
        if not 1 <= number <= MAX_MESSAGES:
            raise ValueError(f"append takes 1 to {MAX_MESSAGES} messages, not {number}")
        known = self._known(record)
        if known:
            return known
        for name, count in per_stream(outgoing).items():
            check_room(name, self._memory.at(self._keys.stream(name)), count, writer)
        if self._memory.full:
            raise ServerFull("the memory is at its limit; nothing was written")
        for index, (name, fields) in enumerate(_each(outgoing)):
            own = meta(message_id(stamp.request_id, index), stamp.path) if stamp else []
            self._memory.at(self._keys.stream(name)).append([*own, *fields], writer, self._memory.now_ms())
        if record:
            self._memory.records[record.key] = (record, self._memory.now_ms() + record.ttl_s * 1000)
        return Appended(record.request_id if record else "", number, repeated=False)

    def recall(self, record: Record) -> Appended | None:
        """The first answer to a request; see the original."""
        try:
            return self._known(record)
        except KeyReused:
            return None

    def _known(self, record: Record | None) -> Appended | None:
        first, until_ms = self._memory.records.get(record.key, (None, 0)) if record else (None, 0)
        if record is None or first is None or until_ms <= self._memory.now_ms():
            return None
        if first.body_digest != record.body_digest:
            raise KeyReused("this Idempotency-Key was used before with another body; use a new key for new messages")
        return Appended(first.request_id, first.count, repeated=True)


def _each(outgoing: Outgoings) -> Iterable[Outgoing]:
    """Messages one by one."""
    if not isinstance(outgoing, Alike):
        return outgoing
    return [
        Outgoing(outgoing.stream, [part for pair in zip(outgoing.names, row, strict=True) for part in pair])
        for row in zip(*outgoing.columns, strict=True)
    ]


class MemoryHop:
    """The double of `dataflow.store.hop.Hop`."""

    def __init__(self, memory: Memory, keys: Keys, stream: str, group: str, targets: Sequence[str]) -> None:
        self._memory = memory
        self._group, self._stream = group, stream
        self._at: dict[LaneName, StreamKeys] = {"main": keys.stream(stream), "retry": keys.retry(stream, group)}
        self._dead = keys.dead(stream, group)
        self._parked = keys.parked(stream, group)
        self._attempts = keys.attempts(stream, group)
        self._targets = [(name, keys.stream(name)) for name in targets]

    def read(self, consumer: str, count: int, block_ms: int, *, apart: bool = False) -> list[Entry]:
        """The next entries that no consumer of the group has had; returns at once."""
        found = []
        lanes: Sequence[LaneName] = ("main",) if apart else LANES
        for lane in lanes:
            stream, group = self._lane(lane)
            for id_ in stream.after(group.last)[:count]:
                group.last = id_
                group.pending[id_] = Claim(consumer, self._memory.now_ms())
                found.append(self._entry(lane, id_))
        return found

    def recover(self, consumer: str) -> list[Entry]:
        """Everything pending for this consumer."""
        return self._claim(consumer, lambda claim: claim.consumer == consumer, None)[1]

    def inherit(self, consumer: str, dead_consumer: str) -> list[Entry]:
        """Take everything from a consumer known to be dead."""
        return self._claim(consumer, lambda claim: claim.consumer == dead_consumer, None)[1]

    def take_over(self, consumer: str, lease_ms: int, count: int) -> tuple[list[Entry], list[Entry]]:
        """Take entries that are on the bench or whose owner's lease ran out."""
        latest_ms = self._memory.now_ms() - lease_ms
        return self._claim(consumer, lambda claim: claim.since_ms <= latest_ms, count)

    def renew(self, consumers: Sequence[str]) -> int:
        """Keep the claims of live consumers for another lease."""
        claims = [claim for lane in LANES for claim in self._lane(lane)[1].pending.values()]
        held = [claim for claim in claims if claim.consumer in consumers]
        for claim in held:
            claim.since_ms = self._memory.now_ms()
        return len(held)

    def hand_back(self, consumer: str, begun: Iterable[Entry] = ()) -> int:
        """Put all of a consumer's entries on the bench; `begun` are attempts that do not count."""
        handed = 0
        for lane in LANES:
            for claim in self._lane(lane)[1].pending.values():
                if claim.consumer == consumer:
                    claim.consumer, claim.since_ms = BENCH, self._memory.now_ms() - _LONG_IDLE_MS
                    handed += 1
        counter = self._counter()
        for entry in begun:
            counter[_mark(entry)] = max(0, counter[_mark(entry)] - 1)
        return handed

    def begin(self, consumer: str, entry: Entry) -> int:
        """Count an attempt just before the entry runs alone. 0: the entry is another consumer's now."""
        if not self._owns(consumer, entry):
            return 0
        self._counter()[_mark(entry)] += 1
        return self._counter()[_mark(entry)]

    def attempts(self, entry: Entry) -> int:
        """How often this entry was begun alone and not finished."""
        return self._counter()[_mark(entry)]

    def finish(self, consumer: str, outcomes: Sequence[tuple[Entry, Outcome]], *, together: bool = False) -> Finished:
        """Write what entries became, acknowledge them, count, and delete what no one needs; see the original."""
        result = Finished()
        for lane in LANES:
            rows = [(entry, outcome) for entry, outcome in outcomes if entry.lane == lane]
            for piece in [rows] if together and rows else pieces(rows):
                self._finish_piece(consumer, lane, piece, together, result)
        return result

    def wake(self, count: int = MAX_ENTRIES) -> int:
        """Move parked messages whose time has come to the retry lane. Returns how many."""
        parked = self._memory.parked.get(self._parked, [])
        due = [one for one in parked if one.due_ms <= self._memory.now_ms()][:count]
        retry = self._memory.at(self._at["retry"])
        for one in due:
            parked.remove(one)
            texts = dict(zip(one.fields[::2], one.fields[1::2], strict=True))
            head = [b"_attempt", b"%d" % one.attempts, b"_origin", texts.get(b"_origin", one.origin.encode())]
            fields = [*head, SINCE, texts[SINCE], *without(one.fields, (b"_attempt", b"_origin", SINCE))]
            retry.append(fields, self._group, self._memory.now_ms())
        return len(due)

    def sweep(self, idle_ms: int) -> int:
        """Remove consumers that hold nothing: the double keeps none. Returns 0."""
        return 0

    def wait_for_memory(self) -> None:
        """Memory is never short here."""

    def has_memory(self) -> bool:
        """It is not."""
        return True

    def room(self) -> int:
        """The least room of any target, in messages; a large number without targets."""
        streams = [self._memory.at(keys) for _, keys in self._targets]
        return min(((stream.max_len or 0) - len(stream.entries) for stream in streams), default=2**53)

    def _finish_piece(
        self,
        consumer: str,
        lane: LaneName,
        piece: Sequence[tuple[Entry, Outcome]],
        together: bool,
        result: Finished,
    ) -> None:
        stream, group = self._lane(lane)
        mine: list[tuple[Entry, Outcome]] = []
        for entry, outcome in piece:
            if self._owns(consumer, entry) and all(entry.id != one.id for one, _ in mine):
                mine.append((entry, outcome))
            else:
                result.lost.append(entry.id)
        if together and len(mine) < len(piece):
            return
        self._check_targets([outcome for _, outcome in mine])
        for entry, outcome in mine:
            self._carry_out(entry, outcome)
            del group.pending[id_of(entry.id)]
            self._counter().pop(_mark(entry), None)
        result.done += len(mine)
        if mine:
            stream.advance(self._group, [id_of(entry.id) for entry, _ in mine])

    def _check_targets(self, outcomes: Sequence[Outcome]) -> None:
        outs = [outcome for outcome in outcomes if isinstance(outcome, Out)]
        for number, wanted in Counter(target for out in outs for target, _ in out.messages).items():
            name, keys = self._targets[number]
            check_room(name, self._memory.at(keys), wanted, self._group)
        dead = sum(isinstance(outcome, Dead) for outcome in outcomes)
        if dead:
            check_room(f"dead letters of {self._group}", self._memory.at(self._dead), dead, self._group)

    def _carry_out(self, entry: Entry, outcome: Outcome) -> None:
        counts = self._memory.at(self._at["main"]).counts
        fields = self._memory.at(self._at[entry.lane]).entries.get(id_of(entry.id), [])
        if isinstance(outcome, Out):
            for target, message in outcome.messages:
                self._memory.at(self._targets[target][1]).append(message, self._group, self._memory.now_ms())
            counts[f"{self._group}.handled"] += 1
            counts[f"{self._group}.out"] += len(outcome.messages)
        elif isinstance(outcome, Drop):
            counts[f"{self._group}.filtered"] += 1
        elif isinstance(outcome, Dead):
            self._memory.at(self._dead).append(
                dead_fields(outcome, entry.lane, entry.id, fields), self._group, self._memory.now_ms()
            )
            counts[f"{self._group}.dead"] += 1
        else:
            self._park(entry, outcome, fields)

    def _park(self, entry: Entry, outcome: Park, fields: list[bytes]) -> None:
        parked = self._memory.parked.setdefault(self._parked, [])
        if SINCE not in fields[::2]:
            fields = [*fields, SINCE, b"%d" % self._memory.now_ms()]
        insort(parked, _Parked(outcome.due_ms, f"{entry.lane}/{entry.id.decode()}", outcome.attempts, fields))

    def _claim(self, to: str, wanted: Callable[[Claim], bool], count: int | None) -> tuple[list[Entry], list[Entry]]:
        clean: list[Entry] = []
        suspect: list[Entry] = []
        for lane in LANES:
            stream, group = self._lane(lane)
            gone = 0
            for id_ in [id_ for id_ in sorted(group.pending) if wanted(group.pending[id_])][:count]:
                if id_ not in stream.entries:
                    del group.pending[id_]
                    gone += 1
                    continue
                owner = group.pending[id_].consumer
                if owner != to:
                    group.pending[id_] = Claim(to, self._memory.now_ms())
                (clean if owner == BENCH else suspect).append(self._entry(lane, id_))
            if gone:
                self._memory.at(self._at["main"]).counts[f"{self._group}.lost"] += gone
                stream.advance(self._group)
        return clean, suspect

    def _lane(self, lane: LaneName) -> tuple[Stream, Group]:
        stream = self._memory.at(self._at[lane])
        if self._group not in stream.groups:
            raise NotDeclared(f"group {self._group!r} is missing on stream {self._stream!r}")
        return stream, stream.groups[self._group]

    def _entry(self, lane: LaneName, id_: Id) -> Entry:
        return Entry(lane, text_of(id_), list(self._memory.at(self._at[lane]).entries[id_]))

    def _owns(self, consumer: str, entry: Entry) -> bool:
        claim = self._lane(entry.lane)[1].pending.get(id_of(entry.id))
        return claim is not None and claim.consumer == consumer

    def _counter(self) -> Counter[str]:
        return self._memory.attempts.setdefault(self._attempts, Counter())


def check_room(name: str, stream: Stream, wanted: int, writer: str) -> None:
    """Raise StreamFull or NotDeclared unless a stream takes so many more entries of a writer."""
    if stream.max_len is None:
        raise NotDeclared(f"stream {name!r} is not declared; nothing was written")
    inside = writer in stream.inside
    if inside and stream.closing:
        return
    counted = stream.cycle if stream.cycle and not inside else (stream,)
    depth = sum(len(one.entries) for one in counted)
    if depth + wanted > stream.max_len:
        raise StreamFull(name, depth, stream.max_len)


def dead_fields(outcome: Dead, lane: str, id_: bytes, fields: Sequence[bytes]) -> list[bytes]:
    """The entry of a dead letter."""
    told: Mapping[bytes, str | int] = {
        b"_dead_reason": outcome.reason,
        b"_dead_error": outcome.error,
        b"_dead_attempts": outcome.attempts,
        b"_dead_lane": lane,
    }
    head = [part for name, value in told.items() for part in (name, str(value).encode())]
    return [*head, b"_dead_id", id_, *fields]


def without(fields: Sequence[bytes], names: Sequence[bytes]) -> list[bytes]:
    """Fields less some names and all of dead letters."""
    pairs = zip(fields[::2], fields[1::2], strict=True)
    return [part for name, value in pairs if name not in names and name[:6] != b"_dead_" for part in (name, value)]


def _mark(entry: Entry) -> str:
    return f"{entry.lane}/{entry.id.decode()}"


def _books(stream: Stream) -> Books:
    counts = dict(stream.counts) | ({} if stream.max_len is None else {"max_len": stream.max_len})
    return Books(True, len(stream.entries), stream.added, counts)
