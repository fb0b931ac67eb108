"""The source side of an edge: a lane of frozen batches on one stream.

A lane reads by position. Before anything of a batch is sent it is frozen here; it is settled here only after the
target has acknowledged it. The lease's (epoch, nonce) fences; the batch's (lineage, seq, digest) identifies.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from redis.exceptions import ResponseError

from dataflow.errors import DataflowError, Fenced, NotDeclared, StreamFull
from dataflow.store.keys import Keys
from dataflow.store.redis import Client, call
from dataflow.store.script import script


class LeaseHeld(DataflowError):
    """Another runner works on this edge right now."""

    exit_code = 6

    def __init__(self, edge: str, left_ms: int) -> None:
        self.edge, self.left_ms = edge, left_ms
        super().__init__(f"edge {edge!r} is being run by another process (its lease ends in {left_ms} ms)")


@dataclass(frozen=True, slots=True)
class Frozen:
    """A batch as it is written down: what it is, which entries, and the verdict (JSON text) on them."""

    seq: int
    digest: str
    first: bytes
    last: bytes
    count: int
    verdict: str
    frozen_ms: int


@dataclass(frozen=True, slots=True)
class Lease:
    """The right to run a lane, and where the lane stood when it was given."""

    nonce: str
    epoch: int
    lineage: str
    seq: int
    position: bytes
    paused: str
    open: Frozen | None


@dataclass(frozen=True, slots=True)
class Refused:
    """An entry of a batch that goes to the dead letters when the batch settles."""

    id: bytes
    error: str


def digest(ids: Sequence[bytes], rows: Sequence[Sequence[bytes]]) -> str:
    """Hex digest of a batch's content: ids and every field, in order."""
    parts: list[bytes] = []
    for id_, fields in zip(ids, rows, strict=True):
        parts.append(id_)
        parts += fields
    return hashlib.blake2b(b"\0".join(parts), digest_size=16).hexdigest()


class Lane:
    """One lane of one edge. Blocking; used by one thread at a time.

    Raises ServerAway, OutcomeUnknown (every call here may be repeated), ServerFull, and NotDeclared when the edge's
    group is not on the stream.
    """

    def __init__(self, redis: Client, keys: Keys, stream: str, edge: str, *, retry: bool = False) -> None:
        self._redis = redis
        self._edge = edge
        self._name = "retry" if retry else "main"
        self._state = keys.edge(edge, retry=retry)
        self._at = keys.retry(stream, edge) if retry else keys.stream(stream)
        self._tally = keys.stream(stream).counts
        self._dead = keys.dead(stream, edge)
        self._stream = stream

    @property
    def name(self) -> str:
        """main or retry."""
        return self._name

    def acquire(self, nonce: str, lease_ms: int, fresh_lineage: str, least_epoch: int = 0) -> Lease:
        """Take the lease, or keep it; a take-over raises the epoch. Raises LeaseHeld."""
        args = [nonce, lease_ms, fresh_lineage, least_epoch, self._group_position()]
        answer = script("lease").run(self._redis, [self._state], args)
        if answer[0] == b"HELD":
            raise LeaseHeld(self._edge, answer[1])
        _, lineage, epoch, seq, position, paused, *batch = answer
        return Lease(nonce, epoch, lineage.decode(), int(seq), position, paused.decode(), _frozen(batch))

    def release(self, lease: Lease) -> None:
        """Let go of the lease. No effect if it is another's by now."""
        script("release").run(self._redis, [self._state], [lease.epoch, lease.nonce])

    def read(self, position: bytes, count: int) -> tuple[list[bytes], list[list[bytes]]]:
        """Up to `count` entries after a position, oldest first: (ids, rows)."""
        return self._range(b"(" + position, b"+", count)

    def reread(self, batch: Frozen) -> tuple[list[bytes], list[list[bytes]]]:
        """The entries of a frozen batch. The caller compares count and digest: entries may have been deleted."""
        return self._range(batch.first, batch.last, batch.count + 1)

    def freeze(
        self, lease: Lease, lease_ms: int, position: bytes, batch: Frozen, *, replaces: Frozen | None = None
    ) -> Frozen:
        """Write a batch down (instead of the open one, after a conflict). Returns it with its time.

        Raises Fenced when the lease is another's or another batch is open: acquire again.
        """
        args = [
            lease.epoch, lease.nonce, lease_ms, position, batch.seq, batch.digest, batch.first, batch.last,
            batch.count, batch.verdict, "" if replaces is None else replaces.seq,
        ]  # fmt: skip
        answer = script("freeze").run(self._redis, [self._state], args)
        if answer[0] != b"OK":
            raise Fenced(f"edge {self._edge!r}: another runner has moved on; this one stops before sending anything")
        return Frozen(batch.seq, batch.digest, batch.first, batch.last, batch.count, batch.verdict, answer[1])

    def settle(self, lease: Lease, lease_ms: int, batch: Frozen, written: int, refused: Sequence[Refused]) -> int:
        """The target has it: move the position, bury refused rows, trim. Returns entries deleted at the source.

        Raises Fenced (another runner has moved on, nothing changed), StreamFull (the dead letters are full).
        """
        keys = [
            self._state, self._at.stream, self._at.groups, self._at.counts, self._tally,
            self._dead.stream, self._dead.counts,
        ]  # fmt: skip
        args: list[Any] = [
            lease.epoch, lease.nonce, lease_ms, batch.seq, batch.digest, self._edge, written, self._name,
        ]  # fmt: skip
        for row in refused:
            args += (row.id, row.error)
        try:
            answer = script("settle").run(self._redis, keys, args)
        except ResponseError as error:
            raise self._refusal(error) from error
        if answer[0] == b"FULL":
            raise StreamFull(f"dead letters of {self._edge}", answer[1], answer[2])
        if answer[0] != b"OK":
            raise Fenced(f"edge {self._edge!r}: another runner has settled batch {batch.seq}")
        return int(answer[1])

    def pause(self, reason: str) -> None:
        """Stop the edge until someone resumes it; the reason is shown by `dataflow status`."""
        call(self._redis, "HSET", self._state, "paused", reason)

    def resume(self) -> bool:
        """Lift a pause. Returns whether there was one."""
        return bool(call(self._redis, "HDEL", self._state, "paused"))

    def depth(self) -> int:
        """Entries in the lane's stream (an upper bound of what is to be moved)."""
        return int(call(self._redis, "XLEN", self._at.stream))

    def _range(self, first: bytes, last: bytes, count: int) -> tuple[list[bytes], list[list[bytes]]]:
        rows = call(self._redis, "XRANGE", self._at.stream, first, last, "COUNT", count)
        return [row[0] for row in rows], [row[1] for row in rows]

    def _group_position(self) -> bytes:
        """Where the edge's group stands: the position of a lane that never ran."""
        try:
            groups = call(self._redis, "XINFO", "GROUPS", self._at.stream)
        except ResponseError as error:
            raise self._refusal(error) from error
        for flat in groups:
            info = dict(zip(flat[::2], flat[1::2], strict=True))
            if info[b"name"] == self._edge.encode():
                return bytes(info[b"last-delivered-id"])
        raise self._refusal(ResponseError("NOGROUP"))

    def _refusal(self, error: ResponseError) -> Exception:
        if "NOGROUP" in str(error) or "no such key" in str(error):
            return NotDeclared(f"edge {self._edge!r} is not declared on stream {self._stream!r}: run `dataflow apply`")
        return error


def _frozen(batch: Sequence[bytes]) -> Frozen | None:
    seq, digest_, first, last, count, verdict, frozen_ms = batch
    if not seq:
        return None
    return Frozen(int(seq), digest_.decode(), first, last, int(count), verdict.decode(), int(frozen_ms))
