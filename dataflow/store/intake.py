"""Where an edge stands that reads no stream: position, lease and what it wrote, all on the Redis of its target.

The position moves in the same step that puts the documents into the stream. So a batch is there with its position or
not at all, and after an unknown outcome it is enough to read the position again: nothing is written down before.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from dataflow.errors import Fenced, TargetRefused
from dataflow.flow.spec import Edge
from dataflow.store.door import refusal
from dataflow.store.keys import Keys
from dataflow.store.lane import LeaseHeld
from dataflow.store.packing import packed
from dataflow.store.redis import Client, call
from dataflow.store.script import script


@dataclass(frozen=True, slots=True)
class IntakeLease:
    """The right to run an edge, and where it stood when it was given.

    position: "" before the first document. paused: the reason of a pause, "" for none. bury: a person has said that
    documents may be buried however many they are, until the edge has once come to the end.
    """

    nonce: str
    epoch: int
    position: str
    paused: str
    bury: bool


class Intake:
    """The state of one edge of kind mongo2s. Blocking; used by one thread at a time, but for `extend`.

    Raises ServerAway, OutcomeUnknown (every call may be repeated; `take` after `acquire`), ServerFull.
    """

    def __init__(self, redis: Client, keys: Keys, edge: Edge) -> None:
        self._redis = redis
        self._edge = edge.name
        self._reads = f"{'/'.join(filter(None, (edge.connection, edge.database, edge.table)))} by {edge.by}"
        self._lane = keys.edge(edge.name)
        self._settled = keys.settled(edge.name)  # stays empty: nothing is settled elsewhere
        at, dead = keys.stream(edge.anchor), keys.dead(edge.anchor, edge.name)
        self._names = [edge.anchor, f"dead letters of {edge.name}"]
        self._targets = [at.stream, at.counts, dead.stream, dead.counts]

    def acquire(self, nonce: str, lease_ms: int, dead_holder: str = "") -> IntakeLease:
        """Take the lease, or keep it; a take-over raises the epoch.

        Raises LeaseHeld, and TargetRefused: under this name another collection, or in another order, was read.

        Args:
            nonce: who we are: random, so that no two runners share it.
            lease_ms: after so long without a sign of life another may take over.
            dead_holder: a nonce known to be of a dead process, whose lease need not be waited for.
        """
        args = [nonce, lease_ms, secrets.token_hex(8), 0, "", dead_holder, self._reads, ""]
        answer = script("lease").run(self._redis, [self._lane, self._settled], args)
        if answer[0] == b"HELD":
            raise LeaseHeld(self._edge, answer[1], answer[2].decode())
        if answer[0] == b"ELSEWHERE":
            raise TargetRefused(
                f"edge {self._edge!r} stands at a place in {answer[1].decode()}, and the flow file has {self._reads} "
                "now: put that back, or give the edge another name, under which it begins at the start"
            )
        _, _, epoch, _, position, paused, bury_to, *_ = answer
        return IntakeLease(nonce, epoch, position.decode(), paused.decode(), bool(bury_to))

    def extend(self, lease: IntakeLease, lease_ms: int) -> bool:
        """Let the lease last `lease_ms` from now on. False, and nothing was changed, if it is another's by now."""
        return bool(script("extend").run(self._redis, [self._lane], [lease.epoch, lease.nonce, lease_ms]))

    def release(self, lease: IntakeLease) -> None:
        """Let go of the lease. No effect if it is another's by now."""
        script("release").run(self._redis, [self._lane], [lease.epoch, lease.nonce])

    def standing(self) -> tuple[str, str]:
        """(position, reason of a pause), without the lease; "" before the first document, and for no pause."""
        position, paused = call(self._redis, "HMGET", self._lane, "position", "paused")
        return (position or b"").decode(), (paused or b"").decode()

    def take(
        self,
        lease: IntakeLease,
        lease_ms: int,
        last: str,
        messages: Sequence[Sequence[bytes]],
        dead: Sequence[Sequence[bytes]],
    ) -> None:
        """Put messages and dead letters into their streams and move the position to `last`: all of it or nothing.

        Args:
            messages, dead: complete fields of each entry.

        Raises:
            StreamFull, NotDeclared, Fenced: nothing was written.
            OutcomeUnknown: all or nothing was written; `acquire` tells the position.
        """
        args: list[Any] = [lease.epoch, lease.nonce, lease_ms, lease.position, last, self._edge]
        args.append(packed([*((0, fields) for fields in messages), *((1, fields) for fields in dead)]))
        answer = script("intake").run(self._redis, [self._lane, *self._targets], args)
        if answer[0] in (b"FENCED", b"MOVED"):
            raise Fenced(f"edge {self._edge!r}: another runner has moved on; nothing was written")
        if answer[0] != b"OK":
            raise refusal(answer, self._names)

    def pause(self, reason: str) -> None:
        """Stop the edge until someone resumes it."""
        script("note").run(self._redis, [self._lane], ["paused", reason])

    def resume(self, *, bury: bool = False) -> bool:
        """Lift a pause. Returns whether there was one. With `bury`, see IntakeLease."""
        if bury:
            script("note").run(self._redis, [self._lane], ["bury_to", "end"])
        return bool(call(self._redis, "HDEL", self._lane, "paused"))

    def stop_burying(self) -> None:
        """The end was reached: from now on many documents that do not fit are a reason to pause again."""
        call(self._redis, "HDEL", self._lane, "bury_to")
