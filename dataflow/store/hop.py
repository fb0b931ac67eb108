"""A worker's hop: read entries through the consumer group, finish them with what they became.

A group has two lanes: `main`, the stream it reads, and `retry`, the stream of its own with what comes back to it. An
entry belongs to the consumer it is pending for; that is both the fence and the duplicate check of `finish`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

from redis.exceptions import ResponseError

from dataflow.errors import NotDeclared, ServerFull, StreamFull
from dataflow.store.keys import Keys, StreamKeys
from dataflow.store.memory import WORKER_MARK, Gauge
from dataflow.store.packing import pack, packed
from dataflow.store.redis import Client, call, send
from dataflow.store.script import script

LaneName = Literal["main", "retry"]
LANES: tuple[LaneName, LaneName] = ("main", "retry")

MAX_ENTRIES = 500
MAX_OUTPUTS = 1000
MAX_BYTES = 8 * 1024 * 1024
"""Caps of one `finish` script: a script holds up everyone else while it runs."""
MAX_COMING_BACK = 100_000
"""So many messages of a group may wait to come back; from then on nothing new is read until there are fewer."""
LOOK_S = 0.5
"""How long one look at their number is good for."""


class Entry(NamedTuple):
    """One stream entry in hand: its lane, its id there, and its fields [name, value, ...]."""

    lane: LaneName
    id: bytes
    fields: list[bytes]


class Out(NamedTuple):
    """The entry was handled and became these messages: (target number from 0, complete fields)."""

    messages: Sequence[tuple[int, list[bytes]]] = ()


@dataclass(frozen=True, slots=True)
class Drop:
    """The handler filtered the entry."""


@dataclass(frozen=True, slots=True)
class Dead:
    """The entry cannot go on. `reason` is a short code, `error` a sentence or a traceback."""

    reason: str
    error: str
    attempts: int


@dataclass(frozen=True, slots=True)
class Park:
    """The entry comes back at `due_ms` (ms since 1970) with this many attempts behind it."""

    due_ms: int
    attempts: int


Outcome = Out | Drop | Dead | Park


@dataclass(slots=True)
class Finished:
    """What `finish` did: entries finished, and those that another consumer has taken over (nothing written)."""

    done: int = 0
    lost: list[bytes] = field(default_factory=list)


class Hop:
    """One consumer group's view of Redis. Every call blocks until Redis has answered; not for concurrent use.

    All calls raise ServerAway, OutcomeUnknown (repeat `finish`, `renew`, `hand_back` freely; after `read` call
    `recover`), ServerFull, and NotDeclared when the stream's group is not there.
    """

    def __init__(self, redis: Client, keys: Keys, stream: str, group: str, targets: Sequence[str]) -> None:
        self._redis = redis
        self._group = group
        self._main = keys.stream(stream)
        self._lanes: dict[LaneName, StreamKeys] = {"main": self._main, "retry": keys.retry(stream, group)}
        self._attempts = keys.attempts(stream, group)
        self._dead = keys.dead(stream, group)
        self._parked = keys.parked(stream, group)
        self._targets = [keys.stream(name) for name in targets]
        self._target_names = list(targets)
        self._stream = stream
        self._gauge = Gauge(redis)
        self._crowded = False
        self._look_at = 0.0

    def read(self, consumer: str, count: int, block_ms: int) -> list[Entry]:
        """The next entries that no consumer of the group has had, oldest first per lane; empty after `block_ms`.

        While MAX_COMING_BACK messages wait to come back, it gives only of those that have. With block_ms 0 it does not
        wait (to Redis, BLOCK 0 is to wait for ever).
        """
        return self.begin_read(consumer, count, block_ms)()

    def begin_read(self, consumer: str, count: int, block_ms: int = 0) -> Callable[[], list[Entry]]:
        """Ask as `read` does, and return what waits for the answer. It must be called, once."""
        wait = ("BLOCK", block_ms) if block_ms > 0 else ()
        lanes: Sequence[LaneName] = ("retry",) if self.crowded() else LANES
        streams = [self._lanes[lane].stream for lane in lanes]
        with self._refusals():
            reply = send(
                self._redis, "XREADGROUP", "GROUP", self._group, consumer, "COUNT", count, *wait,
                "STREAMS", *streams, *(">" for _ in lanes),
            )  # fmt: skip

        def entries() -> list[Entry]:
            with self._refusals():
                found = reply()
            names: dict[bytes, LaneName] = {at.stream.encode(): lane for lane, at in self._lanes.items()}
            return [Entry(names[key], id_, fields) for key, rows in found or () for id_, fields in rows]

        return entries

    def recover(self, consumer: str) -> list[Entry]:
        """Everything pending for this consumer: what a reply that got lost on the way had held."""
        _, own = self._claim(consumer, consumer, 0, 1_000_000)
        return own

    def inherit(self, consumer: str, dead_consumer: str) -> list[Entry]:
        """Take everything from a consumer known to be dead. It may have died of any of these entries."""
        _, suspects = self._claim(consumer, dead_consumer, 0, 1_000_000)
        return suspects

    def take_over(self, consumer: str, lease_ms: int, count: int) -> tuple[list[Entry], list[Entry]]:
        """Take entries that are on the bench or whose owner's lease ran out.

        Returns (handed back in good order, those whose owner may have died of them), up to `count` per lane.
        """
        return self._claim(consumer, "", lease_ms, count)

    def owners(self) -> set[str]:
        """The consumers that hold entries, dead or alive."""
        rows = [self._call("XPENDING", at.stream, self._group)[3] or () for at in self._lanes.values()]
        return {name.decode() for lane in rows for name, _ in lane}

    def renew(self, consumers: Sequence[str]) -> int:
        """Keep the claims of live consumers for another lease. Returns how many entries they hold."""
        args = [self._group, *consumers]
        return sum(self._run("renew", [at.stream, self._main.counts], args) for at in self._lanes.values())

    def hand_back(self, consumer: str, begun: Iterable[Entry] = ()) -> int:
        """Put all of a consumer's entries on the bench and remove it; `begun` are attempts that do not count."""
        handed = 0
        marks = list(begun)
        for lane, at in self._lanes.items():
            ids = [entry.id for entry in marks if entry.lane == lane]
            keys = [at.stream, self._attempts, self._main.counts]
            handed += self._run("handback", keys, [self._group, consumer, lane, *ids])
        return handed

    def begin(self, consumer: str, entry: Entry) -> int:
        """Count an attempt just before the entry runs alone. 0: the entry is another consumer's now."""
        at = self._lanes[entry.lane]
        keys = [at.stream, self._attempts, self._main.counts]
        return int(self._run("begin", keys, [self._group, consumer, entry.lane, entry.id]))

    def attempts(self, entry: Entry) -> int:
        """How often this entry was begun alone and not finished."""
        return int(self._call("HGET", self._attempts, f"{entry.lane}/{entry.id.decode()}") or 0)

    def finish(self, consumer: str, outcomes: Sequence[tuple[Entry, Outcome]], *, together: bool = False) -> Finished:
        """Write what entries became, acknowledge them, count, and delete what no one needs: one script a piece.

        An entry that is not pending for this consumer any more is left alone and reported in `lost`; so are all when
        `together` is set and one of them is.
        Safe to repeat: what was finished before is reported as lost, and nothing is written twice.

        Raises:
            StreamFull: a target or the dead letters have no room. Pieces before this one are finished; repeat the
                call for all, the finished ones are passed over.
        """
        result = Finished()
        for lane in LANES:
            rows = [(entry, outcome) for entry, outcome in outcomes if entry.lane == lane]
            for piece in [rows] if together and rows else pieces(rows):
                self._book(self._begin_piece(consumer, lane, piece, together=together), result)
        return result

    def begin_finish(self, consumer: str, outcomes: Sequence[tuple[Entry, Outcome]]) -> Callable[[], Finished]:
        """Begin `finish` and return what waits for its end. It must be called, once; when it raises, `finish` again.

        What fits into one script is with Redis when this returns; else all is done when the end is waited for.
        """
        (lane, *others) = {entry.lane for entry, _ in outcomes}
        (piece, *more) = pieces(outcomes)
        if others or more:
            return lambda: self.finish(consumer, outcomes)
        answer = self._begin_piece(consumer, lane, piece, together=False)

        def finished() -> Finished:
            result = Finished()
            self._book(answer, result)
            return result

        return finished

    def wake(self, count: int = MAX_ENTRIES) -> int:
        """Move parked messages whose time has come to the retry lane. Returns how many."""
        retry = self._lanes["retry"]
        return int(self._run("wake", [self._parked, retry.stream, retry.counts], [self._group, count]))

    def now_ms(self) -> int:
        """The server's time, by which parked messages come due (ms since 1970)."""
        seconds, micros = self._call("TIME")
        return int(seconds) * 1000 + int(micros) // 1000

    def sweep(self, idle_ms: int) -> int:
        """Remove consumers that hold nothing and were not heard of for `idle_ms`. Returns how many."""
        return sum(int(self._run("sweep", [at.stream], [self._group, idle_ms])) for at in self._lanes.values())

    def wait_for_memory(self) -> None:
        """Raise ServerFull while the server's memory is nearly full and the readers of our targets can empty it."""
        if self._targets:
            self._gauge.check_ahead(WORKER_MARK, self._targets)

    def has_memory(self) -> bool:
        """Whether `wait_for_memory` would let us go on."""
        try:
            self.wait_for_memory()
        except ServerFull:
            return False
        return True

    def crowded(self) -> bool:
        """Whether so many messages wait to come back that nothing new is read. Mostly asks nobody."""
        if time.monotonic() >= self._look_at:
            back = self._call("ZCARD", self._parked) + self._call("XLEN", self._lanes["retry"].stream)
            self._crowded = back >= MAX_COMING_BACK
            self._look_at = time.monotonic() + LOOK_S
        return self._crowded

    def room(self) -> int:
        """The least room of any target, in messages; a large number without targets."""
        free = 2**53
        for target in self._targets:
            max_len = int(self._call("HGET", target.counts, "max_len") or 0)
            free = min(free, max_len - int(self._call("XLEN", target.stream)))
        return free

    def _claim(self, to: str, from_: str, lease_ms: int, count: int) -> tuple[list[Entry], list[Entry]]:
        clean: list[Entry] = []
        suspect: list[Entry] = []
        for lane, at in self._lanes.items():
            keys = [at.stream, at.groups, at.counts, self._main.counts]
            piles = self._run("claim", keys, [self._group, to, from_, lease_ms, count])
            for found, pile in zip(piles, (clean, suspect), strict=True):
                pile += [Entry(lane, id_, fields) for id_, fields in found]
        return clean, suspect

    def _begin_piece(
        self, consumer: str, lane: LaneName, piece: Sequence[tuple[Entry, Outcome]], *, together: bool
    ) -> Callable[[], Any]:
        at = self._lanes[lane]
        keys = [
            at.stream, at.groups, at.counts, self._main.counts,
            self._attempts, self._dead.stream, self._dead.counts, self._parked,
        ]  # fmt: skip
        for target in self._targets:
            keys += (target.stream, target.counts)
        entries: list[bytes | str | int] = []
        for entry, outcome in piece:
            entries.append(entry.id)
            _extend(entries, outcome)
        messages = packed(message for _, outcome in piece if isinstance(outcome, Out) for message in outcome.messages)
        args = [self._group, consumer, lane, int(together), pack(entries), messages]
        with self._refusals():
            return script("finish").send(self._redis, keys, args)

    def _book(self, wait: Callable[[], Any], result: Finished) -> None:
        """Add what a piece did. Raises when it did nothing."""
        with self._refusals():
            answer = wait()
        if answer[0] == b"OK":
            result.done += answer[1]
            result.lost += answer[2:]
            return
        name = self._name_of_key(answer[1])
        if answer[0] == b"FULL" and answer[3] >= 0:
            raise StreamFull(name, answer[2], answer[3])
        raise NotDeclared(f"{name!r} is not a declared stream in Redis; nothing was written: run `dataflow apply`")

    def _name_of_key(self, key_number: int) -> str:
        if key_number == 6:
            return f"dead letters of {self._group}"
        return self._target_names[(key_number - 9) // 2]

    def _run(self, name: str, keys: Sequence[str], args: Sequence[Any]) -> Any:
        with self._refusals():
            return script(name).run(self._redis, keys, args)

    def _call(self, *args: Any) -> Any:
        with self._refusals():
            return call(self._redis, *args)

    @contextmanager
    def _refusals(self) -> Iterator[None]:
        try:
            yield
        except ResponseError as error:
            raise self._refused(error) from error

    def _refused(self, error: ResponseError) -> Exception:
        if "NOGROUP" in str(error) or "UNBLOCKED" in str(error):  # the latter: it went away while a read waited
            return NotDeclared(f"group {self._group!r} is missing on stream {self._stream!r}")
        if "WRONGTYPE" in str(error):
            return NotDeclared(f"a key of stream {self._stream!r} holds something else; nothing was written: {error}")
        return error


def _extend(entries: list[bytes | str | int], outcome: Outcome) -> None:
    """What became of an entry. Numbers that are kept are text: a script would write large ones its own way."""
    if isinstance(outcome, Out):
        entries.append(len(outcome.messages))
    elif isinstance(outcome, Drop):
        entries.append("drop")
    elif isinstance(outcome, Dead):
        entries += ("dead", outcome.reason, outcome.error, str(outcome.attempts))
    else:
        entries += ("park", str(outcome.due_ms), str(outcome.attempts))


def pieces(rows: Sequence[tuple[Entry, Outcome]]) -> Iterator[list[tuple[Entry, Outcome]]]:
    """Cut so that each piece stays under the caps; an entry that is larger alone goes alone."""
    if rows and len(rows) <= MAX_ENTRIES and _number(rows) <= MAX_OUTPUTS and _size(rows) <= MAX_BYTES:
        yield list(rows)
        return
    piece: list[tuple[Entry, Outcome]] = []
    outputs = size = 0
    for row in rows:
        more, bytes_ = _number([row]), _size([row])
        if piece and (len(piece) >= MAX_ENTRIES or outputs + more > MAX_OUTPUTS or size + bytes_ > MAX_BYTES):
            yield piece
            piece, outputs, size = [], 0, 0
        piece.append(row)
        outputs += more
        size += bytes_
    if piece:
        yield piece


def _number(rows: Sequence[tuple[Entry, Outcome]]) -> int:
    """Messages that these entries became."""
    return sum([len(outcome.messages) for _, outcome in rows if isinstance(outcome, Out)])


def _size(rows: Sequence[tuple[Entry, Outcome]]) -> int:
    """Bytes that a script writes for these entries, names included."""
    written = [fields for _, outcome in rows if isinstance(outcome, Out) for _, fields in outcome.messages]
    written += [entry.fields for entry, outcome in rows if isinstance(outcome, _KEPT)]
    return sum(map(len, map(b"".join, written)))


_KEPT = (Dead, Park)
"""What the script copies from the stream."""
