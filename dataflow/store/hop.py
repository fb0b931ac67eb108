"""A worker's hop: read entries through the consumer group, finish them with what they became.

A group has two lanes: `main`, the stream it reads, and `retry`, the stream of its own with what comes back to it. An
entry belongs to the consumer it is pending for; that is both the fence and the duplicate check of `finish`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from redis.exceptions import NoScriptError, ResponseError

from dataflow.errors import NotDeclared, ServerFull, StreamFull
from dataflow.store.apart import Apart, consumer_of
from dataflow.store.keys import Keys, StreamKeys
from dataflow.store.memory import WORKER_MARK, Gauge
from dataflow.store.outcomes import LANES, Entry, Finished, LaneName, Outcomes, entries_of
from dataflow.store.parcels import MAX_ENTRIES, by_lane, parcel, pieces
from dataflow.store.redis import Client, call, connections_made, send
from dataflow.store.script import script

MAX_COMING_BACK = 100_000
"""So many messages of a group may wait to come back; from then on nothing new is read until there are fewer."""
LOOK_S = 0.5
"""How long one look at their number is good for."""
_GONE = ("NOGROUP", "UNBLOCKED", "no such key")
"""What Redis says of a group or a stream that is not there; the second, where one went away while a read waited."""


class Hop:
    """One consumer group's view of Redis. Every call blocks until Redis has answered; not for concurrent use.

    A consumer's name must not end in `#` and digits: these are names of its questions (`dataflow.store.apart`).

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
        self._told_at: dict[str, int] = {}  # connections made when a consumer was first told, or told all, of its own
        self._apart = Apart()

    def read(self, consumer: str, count: int, block_ms: int, *, apart: bool = False) -> list[Entry]:
        """The next entries that no consumer of the group has had, oldest first per lane; empty after `block_ms`.

        While MAX_COMING_BACK messages wait to come back, it gives only of those that have (see `crowded`). With
        block_ms 0 it does not wait (to Redis, BLOCK 0 is to wait for ever).

        Args:
            apart: read of the main lane alone, crowded or not, and let the answer be pending under a name of its own.
                It is this consumer's all the same; but `finish` need not look at each entry, if it gets the answer as
                it is.
        """
        return self.begin_read(consumer, count, block_ms, apart=apart)()

    def begin_read(
        self, consumer: str, count: int, block_ms: int = 0, *, apart: bool = False
    ) -> Callable[[], list[Entry]]:
        """Ask as `read` does, and return what waits for the answer. It must be called, once."""
        name = self._apart.name(consumer) if apart else consumer
        wait = ("BLOCK", block_ms) if block_ms > 0 else ()
        lanes: Sequence[LaneName] = ("main",) if apart else ("retry",) if self.crowded() else LANES
        streams = [self._lanes[lane].stream for lane in lanes]
        with self._refusals():
            reply = send(
                self._redis, "XREADGROUP", "GROUP", self._group, name, "COUNT", count, *wait,
                "STREAMS", *streams, *(">" for _ in lanes),
            )  # fmt: skip

        def entries() -> list[Entry]:
            with self._refusals():
                found = reply()
            self._told_at.setdefault(consumer, connections_made(self._redis))
            names: dict[bytes, LaneName] = {at.stream.encode(): lane for lane, at in self._lanes.items()}
            entries = [Entry(names[key], id_, fields) for key, rows in found or () for id_, fields in rows]
            if apart:
                self._apart.answered(name, entries)
            return entries

        return entries

    def is_certain(self, consumer: str) -> bool:
        """Whether the server is the one that has told this consumer what is pending for it; if not, `recover` tells.

        It may be another over a new connection: one that was restarted without its last writes, for which what was
        finished in them is pending again.
        """
        return self._told_at.get(consumer) in (None, connections_made(self._redis))

    def recover(self, consumer: str) -> list[Entry]:
        """Everything pending for this consumer: what a reply that got lost on the way had held."""
        _, own = self._claim(consumer, consumer, 0, 1_000_000)
        self._told_at[consumer] = connections_made(self._redis)
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
        return {consumer_of(name.decode()) for lane in rows for name, _ in lane}

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
        self._told_at.pop(consumer, None)
        return handed

    def begin(self, consumer: str, entry: Entry) -> int:
        """Count an attempt just before the entry runs alone. 0: the entry is another consumer's now."""
        at = self._lanes[entry.lane]
        keys = [at.stream, self._attempts, self._main.counts]
        return int(self._run("begin", keys, [self._group, consumer, entry.lane, entry.id]))

    def attempts(self, entry: Entry) -> int:
        """How often this entry was begun alone and not finished."""
        return int(self._call("HGET", self._attempts, f"{entry.lane}/{entry.id.decode()}") or 0)

    def finish(self, consumer: str, outcomes: Outcomes, *, together: bool = False) -> Finished:
        """Write what entries became, acknowledge them, count, and delete what no one needs: one script a piece.

        An entry that is not pending for this consumer any more is left alone and reported in `lost`; so are all when
        `together` is set and one of them is.
        Safe to repeat: what was finished before is reported as lost, and nothing is written twice.

        Raises:
            StreamFull: a target or the dead letters have no room. Pieces before this one are finished; repeat the
                call for all, the finished ones are passed over.
        """
        result = Finished()
        for lane, rows in by_lane(outcomes):
            for piece in [rows] if together else pieces(rows):
                part = self._begin_piece(consumer, lane, piece, together=together)()
                result.done += part.done
                result.lost += part.lost
        return result

    def begin_finish(self, consumer: str, outcomes: Outcomes) -> Callable[[], Finished]:
        """Begin `finish` and return what waits for its end. It must be called, once; when it raises, `finish` again.

        What fits into one script is with Redis when this returns; else all is done when the end is waited for.
        """
        ((lane, rows), *others) = by_lane(outcomes)
        (piece, *more) = pieces(rows)
        if others or more:
            return lambda: self.finish(consumer, outcomes)
        return self._begin_piece(consumer, lane, piece)

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
        return sum(
            int(self._run("sweep", [at.stream, at.counts], [self._group, idle_ms])) for at in self._lanes.values()
        )

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
        self, consumer: str, lane: LaneName, piece: Outcomes, *, together: bool = False
    ) -> Callable[[], Finished]:
        """Send the script and return what waits for its end."""
        keys = self._keys(lane)
        fates, messages, width = parcel(piece)
        finish = script("finish", width)
        name = self._apart.name_of(consumer, entries_of(piece))
        args = (self._group, consumer, lane, int(together), fates, messages, int(width > 0), name)
        with self._refusals():
            reply = finish.send(self._redis, keys, args)

        def finished() -> Finished:
            with self._refusals():
                try:
                    return self._result(reply())
                except NoScriptError:
                    return self._result(finish.run_whole(self._redis, keys, args))

        return finished

    def _keys(self, lane: LaneName) -> list[str]:
        at, main, dead = self._lanes[lane], self._main, self._dead
        keys = [at.stream, at.groups, at.counts, main.counts, self._attempts, dead.stream, dead.counts, self._parked]
        for target in self._targets:
            keys += (target.stream, target.counts)
        return keys

    def _result(self, answer: list[Any]) -> Finished:
        """What a piece did. Raises when it did nothing."""
        if answer[0] == b"OK":
            return Finished(answer[1], answer[2:])
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
        if any(sign in str(error) for sign in _GONE):
            return NotDeclared(f"group {self._group!r} is missing on stream {self._stream!r}")
        if "WRONGTYPE" in str(error):
            return NotDeclared(f"a key of stream {self._stream!r} holds something else; nothing was written: {error}")
        return error
