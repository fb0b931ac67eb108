"""The source side of an edge: a lane of frozen batches on one stream.

A lane reads by position. Before anything of a batch is sent it is frozen here; it is settled here only after the
target has acknowledged it. The lease's (epoch, nonce) fences; the batch's (lineage, seq, digest) identifies.

Stream ids are pairs of whole numbers; `id_order` is how they are compared.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import msgspec
from redis.exceptions import ResponseError

from dataflow.errors import DataflowError, Fenced, NotDeclared, StreamFull
from dataflow.ids import mid_time_ms, request_id
from dataflow.store.keys import Keys
from dataflow.store.redis import Client, call
from dataflow.store.script import script

CLOCK_SKEW_MS: Final = 5000
"""By how much the clock of a door may be ahead of the one of Redis."""

_ENCODER: Final = msgspec.msgpack.Encoder()

ANY: Final = "*"
"""For the digest of a batch that is not known: of one that was settled before digests were kept."""
CONFIRM_MS: Final = 3000
"""After so long a Redis with `appendfsync everysec` has on its disk what it was told."""


class LeaseHeld(DataflowError):
    """Another runner works on this edge right now. `holder` is its nonce."""

    exit_code = 6

    def __init__(self, edge: str, left_ms: int, holder: str = "") -> None:
        self.edge, self.left_ms, self.holder = edge, left_ms, holder
        super().__init__(f"edge {edge!r} is being run by another process (its lease ends in {left_ms} ms)")


@dataclass(frozen=True, slots=True)
class Frozen:
    """A batch as it is written down: what it is, which entries, and the verdict (JSON text) on them.

    prev is the digest of the batch before it at the target, "" for none.
    """

    seq: int
    digest: str
    first: bytes
    last: bytes
    count: int
    verdict: str
    frozen_ms: int
    prev: str = ANY


@dataclass(frozen=True, slots=True)
class Lease:
    """The right to run a lane, and where the lane stood when it was given.

    `paused` is the reason of a pause, "" for none. Up to and with the entry `bury_to` ("" for none) an operator has
    said that refused rows may be buried however many they are. Of messages born up to `doubt_ms` the source may have
    forgotten that it sent them: its server was started anew. digest is that of the batch settled last, unconfirmed the
    number of batches that the target may still lose. Of what it has lost, rows in `buried` are in the dead letters
    already. at_ms is the time of the source's server when the lease was given. leaving: nothing new is to be begun, for
    the edge is being taken out of the flow or led elsewhere.
    """

    nonce: str
    epoch: int
    lineage: str
    seq: int
    position: bytes
    paused: str
    bury_to: bytes
    open: Frozen | None
    doubt_ms: int = 0
    digest: str = ANY
    unconfirmed: int = 0
    buried: frozenset[bytes] = frozenset()
    at_ms: int = 0
    leaving: bool = False

    def doubts(self, ids: Sequence[bytes], mids: Sequence[bytes]) -> bool:
        """Whether the target may have some of these messages under another identity.

        A message that a worker or an edge has made once more is a new entry, so its birth counts and not its entry.
        """
        if not self.doubt_ms:
            return False
        if max(mids) < b"8":  # the ids that our doors give, in order of time, all of one length
            return min(mids) < request_id(self.doubt_ms + CLOCK_SKEW_MS)[:10].encode() + b"~"
        return any(self._doubts(id_, mid.decode(errors="replace")) for id_, mid in zip(ids, mids, strict=True))

    def _doubts(self, id_: bytes, mid: str) -> bool:
        born_ms = mid_time_ms(mid)
        return id_order(id_)[0] <= self.doubt_ms if born_ms is None else born_ms <= self.doubt_ms + CLOCK_SKEW_MS


@dataclass(frozen=True, slots=True)
class Waiting:
    """What a lane has to do, told without its lease.

    count: entries after the position, counted up to the number asked for. age_ms: how long the first of them has been
    there, by the server's clock. open: a batch is frozen and not settled. fresh: the lane never ran. paused: the reason
    of a pause, "" for none. confirm_ms: time until the target may be asked to confirm what is settled, None if all is.
    """

    count: int
    age_ms: int
    open: bool = False
    fresh: bool = False
    paused: str = ""
    confirm_ms: int | None = None


@dataclass(frozen=True, slots=True)
class Confirmed:
    """What a target's word led to. unconfirmed: batches that it may still lose. lost: entries that it has lost, which
    are read again; the lease must be taken anew. behind: it has lost what it had confirmed; nothing was changed.
    """

    unconfirmed: int = 0
    lost: int = 0
    behind: bool = False


@dataclass(frozen=True, slots=True)
class Refused:
    """An entry of a batch that goes to the dead letters when the batch settles."""

    id: bytes
    error: str


def content(ids: Sequence[bytes], rows: Sequence[Sequence[bytes]]) -> bytes:
    """The entries of a batch as one text: ids and every field in order, each with its length."""
    return _ENCODER.encode((ids, rows))


def digest(content: bytes, verdict: str) -> str:
    """Hex digest of everything that decides a batch: its entries as `content` gives them, and the verdict on them."""
    hash_ = hashlib.blake2b(content, digest_size=16)
    hash_.update(verdict.encode())
    return hash_.hexdigest()


def id_order(id_: bytes) -> tuple[int, int]:
    """Sort key of stream ids."""
    ms, _, seq = id_.partition(b"-")
    return int(ms), int(seq)


class Lane:
    """One lane of one edge. Blocking; used by one thread at a time.

    Raises ServerAway, OutcomeUnknown (every call here may be repeated), ServerFull, and NotDeclared when the edge's
    group is not on the stream.
    """

    def __init__(self, redis: Client, keys: Keys, stream: str, edge: str, *, at: str = "", retry: bool = False) -> None:
        """Does not connect.

        Args:
            stream, edge: what it reads, under which name.
            at: the place that remembers its batches (`dataflow.store.leads`), "" for none.
            retry: the lane of what came back to the edge, instead of the stream's.
        """
        self._redis = redis
        self._leads_to = at
        self._edge = edge
        self._name = "retry" if retry else "main"
        self._state = keys.edge(edge, retry=retry)
        self._settled = keys.settled(edge, retry=retry)
        self._at = keys.retry(stream, edge) if retry else keys.stream(stream)
        self._tally = keys.stream(stream).counts
        self._dead = keys.dead(stream, edge)
        self._stream = stream

    @property
    def name(self) -> str:
        """main or retry."""
        return self._name

    def acquire(
        self, nonce: str, lease_ms: int, fresh_lineage: str, least_epoch: int = 0, dead_holder: str = ""
    ) -> Lease:
        """Take the lease, or keep it; a take-over raises the epoch.

        Raises LeaseHeld, and NotDeclared while messages wait for this edge on the stream that it read before, or when
        the flow was applied in which it leads elsewhere.

        Args:
            nonce: who we are: random, so that no two runners share it.
            lease_ms: after so long without a sign of life another may take over.
            fresh_lineage: random; becomes the lane's lineage if it has none.
            least_epoch: of the lease; above what the target has seen.
            dead_holder: a nonce known to be of a dead process, whose lease need not be waited for.
        """
        args = [
            nonce,
            lease_ms,
            fresh_lineage,
            least_epoch,
            self._group_position(),
            dead_holder,
            self._stream,
            self._leads_to,
        ]
        answer = script("lease").run(self._redis, [self._state, self._settled, self._at.groups], [*args, self._edge])
        if answer[0] == b"UNDECLARED":
            raise self._refusal(ResponseError("NOGROUP"))
        if answer[0] == b"HELD":
            raise LeaseHeld(self._edge, answer[1], answer[2].decode())
        if answer[0] == b"ELSEWHERE":
            raise NotDeclared(
                f"edge {self._edge!r} has not let go of stream {answer[1].decode()!r}: let it finish there with the "
                f"former flow file, or drop what waits there with `dataflow release {self._edge}`"
            )
        if answer[0] == b"OTHER":
            raise NotDeclared(
                f"edge {self._edge!r} leads to {answer[1].decode()} in the flow that was applied last, and to "
                f"{self._leads_to} in this flow file: apply the one that is right"
            )
        _, lineage, epoch, seq, position, paused, bury_to, last, unconfirmed, now_ms, buried, *batch = answer
        *batch, doubt_ms, leaving = batch
        return Lease(
            nonce, epoch, lineage.decode(), int(seq), position, paused.decode(), bury_to, _frozen(batch), doubt_ms,
            last.decode(), unconfirmed, frozenset(buried.split()), now_ms, bool(leaving),
        )  # fmt: skip

    def extend(self, lease: Lease, lease_ms: int) -> bool:
        """Let the lease last `lease_ms` from now on. False, and nothing was changed, if it is another's by now."""
        return bool(script("extend").run(self._redis, [self._state], [lease.epoch, lease.nonce, lease_ms]))

    def release(self, lease: Lease) -> None:
        """Let go of the lease. No effect if it is another's by now."""
        script("release").run(self._redis, [self._state], [lease.epoch, lease.nonce])

    def read(self, position: bytes, count: int) -> tuple[list[bytes], list[list[bytes]]]:
        """Up to `count` entries after a position, oldest first: (ids, rows)."""
        return self._range(b"(" + position, b"+", count)

    def read_to(self, position: bytes, last: bytes) -> tuple[list[bytes], list[list[bytes]]]:
        """All entries after a position up to and with `last`: (ids, rows)."""
        return self._range(b"(" + position, last, None)

    def reread(self, batch: Frozen) -> tuple[list[bytes], list[list[bytes]]]:
        """The entries of a frozen batch. The caller compares count and digest: entries may have been deleted."""
        return self._range(batch.first, batch.last, batch.count + 1)

    def freeze(
        self, lease: Lease, lease_ms: int, position: bytes, batch: Frozen, *, replaces: Frozen | None = None
    ) -> Frozen:
        """Write a batch down (instead of the open one, after a conflict). Returns it with its time.

        Raises Fenced when the lease is another's, another batch is open, or the edge is leaving: acquire again.
        """
        args = [
            lease.epoch, lease.nonce, lease_ms, position, batch.seq, batch.digest, batch.first, batch.last,
            batch.count, batch.verdict, "" if replaces is None else replaces.seq, batch.prev,
        ]  # fmt: skip
        answer = script("freeze").run(self._redis, [self._state], args)
        if answer[0] == b"LEAVING":
            raise Fenced(f"edge {self._edge!r} is being taken out of the flow or led elsewhere: it begins nothing new")
        if answer[0] != b"OK":
            raise Fenced(f"edge {self._edge!r}: another runner has moved on; this one stops before sending anything")
        return replace(batch, frozen_ms=answer[1])

    def settle(
        self,
        lease: Lease,
        lease_ms: int,
        batch: Frozen,
        written: int,
        refused: Sequence[Refused],
        *,
        keep: bool = False,
        buried: int = 0,
    ) -> int:
        """The target has it: move the position, bury refused rows, trim. Returns entries deleted at the source.

        Args:
            keep: the target is another server, which may lose the batch: delete nothing before `confirm`.
            buried: entries of the batch that were in the dead letters before.

        Raises Fenced (another runner has moved on, nothing changed), StreamFull (the dead letters are full),
        NotDeclared (the edge's group or its dead letters are not declared).
        """
        keys = [
            self._state, self._at.stream, self._at.groups, self._at.counts, self._tally,
            self._dead.stream, self._dead.counts, self._settled,
        ]  # fmt: skip
        args: list[Any] = [
            lease.epoch, lease.nonce, lease_ms, batch.seq, batch.digest, self._edge, written, self._name,
            int(keep), buried,
        ]  # fmt: skip
        for row in refused:
            args += (row.id, row.error)
        try:
            answer = script("settle").run(self._redis, keys, args)
        except ResponseError as error:
            raise self._refusal(error) from error
        if answer[0] == b"FULL" and answer[2] >= 0:
            raise StreamFull(f"dead letters of {self._edge}", answer[1], answer[2])
        if answer[0] == b"FULL":
            raise NotDeclared(f"the dead letters of edge {self._edge!r} are not declared: run `dataflow apply`")
        if answer[0] != b"OK":
            raise Fenced(f"edge {self._edge!r}: another runner has settled batch {batch.seq}")
        return int(answer[1])

    def confirm(
        self, lease: Lease, run_id: str, seq: int, digest: str, asked_ms: int, wait_ms: int = CONFIRM_MS
    ) -> Confirmed:
        """Take a target's word for what it has: delete what it cannot lose any more, go back to what it has.

        Args:
            run_id, seq, digest: of the process that answered, and the last batch that it has.
            asked_ms: a time of the source's server before the target was asked.
            wait_ms: how long a server needs to store what it was told.

        Raises Fenced (another runner has moved on, nothing changed), NotDeclared (the edge's group is gone).
        """
        keys = [self._state, self._at.stream, self._at.groups, self._at.counts, self._tally, self._settled]
        args = [lease.epoch, lease.nonce, self._edge, run_id, seq, digest, asked_ms, wait_ms]
        try:
            answer = script("confirm").run(self._redis, keys, args)
        except ResponseError as error:
            raise self._refusal(error) from error
        if answer[0] == b"FENCED":
            raise Fenced(f"edge {self._edge!r}: another runner has moved on")
        if answer[0] == b"OK":
            return Confirmed(unconfirmed=answer[1])
        return Confirmed(behind=True) if answer[0] == b"BEHIND" else Confirmed(lost=answer[1])

    def pause(self, reason: str) -> None:
        """Stop the edge until someone resumes it; the reason is shown by `dataflow status`."""
        script("note").run(self._redis, [self._state], ["paused", reason])

    def resume(self, *, bury: bool = False) -> bool:
        """Lift a pause. Returns whether there was one.

        With `bury`, refused rows among the entries that are there now go to the dead letters, however many they are.
        """
        if bury:
            last = call(self._redis, "XREVRANGE", self._at.stream, "+", "-", "COUNT", 1)
            script("note").run(self._redis, [self._state], ["bury_to", last[0][0] if last else "0-0"])
        return bool(call(self._redis, "HDEL", self._state, "paused"))

    def reopen(self) -> int:
        """Forget the open batch, because entries of it were deleted: what is left of it is read again.

        Only after a person has decided so: in a table that tells batches apart by their identity the rest may appear
        twice. Returns how many of its entries are gone; they are counted as lost. 0: none, and nothing was changed.
        """
        keys = [self._state, self._at.stream, self._tally]
        return int(script("reopen").run(self._redis, keys, [self._edge]))

    def waiting(self, count: int) -> Waiting:
        """What there is to do, without taking the lease. Entries are counted up to `count`."""
        keys = [self._state, self._at.stream, self._settled]
        found, age_ms, open_, fresh, paused, confirm_ms = script("waiting").run(self._redis, keys, [count, CONFIRM_MS])
        due_ms = None if confirm_ms < 0 else confirm_ms
        return Waiting(found, age_ms, bool(open_), bool(fresh), paused.decode(), due_ms)

    def state(self) -> tuple[str, int]:
        """(lineage, last settled seq) of the lane; ("", 0) if it never ran."""
        lineage, seq = call(self._redis, "HMGET", self._state, "lineage", "seq")
        return (lineage or b"").decode(), int(seq or 0)

    def depth(self) -> int:
        """Entries in the lane's stream (an upper bound of what is to be moved)."""
        return int(call(self._redis, "XLEN", self._at.stream))

    def _range(self, first: bytes, last: bytes, count: int | None) -> tuple[list[bytes], list[list[bytes]]]:
        limit = () if count is None else ("COUNT", count)
        found = call(self._redis, "XRANGE", self._at.stream, first, last, *limit)
        return [row[0] for row in found], [row[1] for row in found]

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
    seq, digest_, first, last, count, verdict, frozen_ms, prev = batch
    if not seq:
        return None
    return Frozen(int(seq), digest_.decode(), first, last, int(count), verdict.decode(), int(frozen_ms), prev.decode())
