"""The two ends of an edge in memory: doubles of `dataflow.store.lane.Lane` and `dataflow.store.target.StreamTarget`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import NoReturn

from dataflow.errors import BatchConflict, Fenced, NotDeclared, TargetBehind
from dataflow.ids import extend_path
from dataflow.store.keys import Keys
from dataflow.store.lane import ANY, Frozen, Lease, LeaseHeld, Refused, Waiting
from dataflow.store.outcomes import Dead
from dataflow.store.target import Known
from dataflow.testing.memory import ZERO, Id, Memory, Stream, check_room, dead_fields, id_of, text_of

_KEEP_MS = 10_000


@dataclass(slots=True)
class _State:
    """What `{f}:edge:<edge>` holds."""

    lineage: str
    stream: str
    position: bytes
    seq: int = 0
    epoch: int = 0
    nonce: str = ""
    until_ms: int = 0
    open: Frozen | None = None
    frozen: int = 0
    settled: int = 0
    digest: str = ""


@dataclass(slots=True)
class _Pause:
    reason: str = ""
    bury_to: bytes = b""


@dataclass(slots=True)
class _Marker:
    """What a target remembers of a lineage. placed: seq -> (when, source ids)."""

    seq: int = 0
    epoch: int = 0
    digest: str = ""
    placed: dict[int, tuple[int, list[bytes]]] = field(default_factory=dict)


class MemoryLane:
    """The double of `dataflow.store.lane.Lane`."""

    def __init__(self, memory: Memory, keys: Keys, stream: str, edge: str, *, retry: bool = False) -> None:
        self._memory, self._keys = memory, keys
        self._edge, self._stream = edge, stream
        self._name = "retry" if retry else "main"
        self._key = keys.edge(edge, retry=retry)
        self._at = keys.retry(stream, edge) if retry else keys.stream(stream)
        self._pause: _Pause = memory.lanes.setdefault(self._key + ":pause", _Pause())

    @property
    def name(self) -> str:
        """main or retry."""
        return self._name

    def acquire(
        self, nonce: str, lease_ms: int, fresh_lineage: str, least_epoch: int = 0, dead_holder: str = ""
    ) -> Lease:
        """Take the lease, or keep it; a take-over raises the epoch."""
        position = text_of(self._group_position())
        state: _State = self._memory.lanes.setdefault(self._key, _State(fresh_lineage, self._stream, position))
        if state.stream != self._stream:
            raise NotDeclared(f"edge {self._edge!r} has not let go of stream {state.stream!r}")
        left_ms = state.until_ms - self._memory.now_ms()
        if state.nonce not in ("", nonce, dead_holder) and left_ms > 0:
            raise LeaseHeld(self._edge, left_ms, state.nonce)
        if state.nonce != nonce or state.epoch < least_epoch:
            state.epoch = max(state.epoch + 1, least_epoch)
        state.nonce, state.until_ms = nonce, self._memory.now_ms() + lease_ms
        return Lease(
            nonce, state.epoch, state.lineage, state.seq, state.position, self._pause.reason, self._pause.bury_to,
            state.open, digest=state.digest, at_ms=self._memory.now_ms(),
        )  # fmt: skip

    def extend(self, lease: Lease, lease_ms: int) -> bool:
        """Let the lease last `lease_ms` from now on. False if it is another's by now."""
        state = self._held(lease)
        if state:
            state.until_ms = self._memory.now_ms() + lease_ms
        return state is not None

    def release(self, lease: Lease) -> None:
        """Let go of the lease."""
        state = self._held(lease)
        if state:
            state.until_ms = 0

    def read(self, position: bytes, count: int) -> tuple[list[bytes], list[list[bytes]]]:
        """Up to `count` entries after a position, oldest first: (ids, rows)."""
        return self._rows(self._here.after(id_of(position))[:count])

    def read_to(self, position: bytes, last: bytes) -> tuple[list[bytes], list[list[bytes]]]:
        """All entries after a position up to and with `last`."""
        return self._rows([id_ for id_ in self._here.after(id_of(position)) if id_ <= id_of(last)])

    def reread(self, batch: Frozen) -> tuple[list[bytes], list[list[bytes]]]:
        """The entries of a frozen batch that are still there."""
        first, last = id_of(batch.first), id_of(batch.last)
        return self._rows([id_ for id_ in self._here.entries if first <= id_ <= last][: batch.count + 1])

    def freeze(
        self, lease: Lease, lease_ms: int, position: bytes, batch: Frozen, *, replaces: Frozen | None = None
    ) -> Frozen:
        """Write a batch down, instead of the open one after a conflict."""
        state = self._held(lease)
        open_seq, replaced = (state.open.seq if state and state.open else None), (replaces.seq if replaces else None)
        if state is None or state.position != position or open_seq != replaced:
            raise Fenced(f"edge {self._edge!r}: another runner has moved on; this one stops before sending anything")
        state.frozen += batch.count - (state.open.count if state.open else 0)
        state.open = replace(batch, frozen_ms=self._memory.now_ms())
        state.until_ms = self._memory.now_ms() + lease_ms
        return state.open

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

        One memory is source and target: nothing is ever kept for the target to confirm.
        """
        state = self._held(lease)
        if state is None or state.open is None or (state.open.seq, state.open.digest) != (batch.seq, batch.digest):
            raise Fenced(f"edge {self._edge!r}: another runner has settled batch {batch.seq}")
        self._group_position()
        dead = self._memory.at(self._keys.dead(self._stream, self._edge))
        if refused:
            check_room(f"dead letters of {self._edge}", dead, len(refused), self._edge)
        for row in refused:
            fields = self._here.entries.get(id_of(row.id), [])
            letter = dead_fields(Dead("refused", row.error, 1), self._name, row.id, fields)
            dead.append(letter, self._edge, self._memory.now_ms())
        self._count(state.open.count - len(refused), written, len(refused))
        state.settled += state.open.count
        state.position, state.seq, state.digest, state.open = batch.last, batch.seq, batch.digest, None
        state.until_ms = self._memory.now_ms() + lease_ms
        self._here.groups[self._edge].last = id_of(batch.last)
        return self._here.advance(self._edge)

    def pause(self, reason: str) -> None:
        """Stop the edge until someone resumes it."""
        self._pause.reason = reason

    def resume(self, *, bury: bool = False) -> bool:
        """Lift a pause. Returns whether there was one."""
        if bury:
            self._pause.bury_to = text_of(max(self._here.entries, default=ZERO))
        was, self._pause.reason = self._pause.reason, ""
        return was != ""

    def reopen(self) -> int:
        """Forget the open batch; what is left of it is read again. Returns how many of its entries are gone."""
        state: _State | None = self._memory.lanes.get(self._key)
        if state is None or state.open is None:
            return 0
        gone = state.open.count - len(self.reread(state.open)[0])
        state.frozen -= state.open.count
        state.open, state.nonce, state.until_ms = None, "", 0
        self._memory.at(self._keys.stream(self._stream)).counts[f"{self._edge}.lost"] += gone
        return gone

    def waiting(self, count: int) -> Waiting:
        """What there is to do, without taking the lease."""
        state: _State | None = self._memory.lanes.get(self._key)
        found = self._here.after(id_of(state.position) if state else ZERO)[:count]
        age_ms = max(0, self._memory.now_ms() - found[0][0]) if found else 0
        return Waiting(len(found), age_ms, state is not None and state.open is not None, state is None)

    def state(self) -> tuple[str, int]:
        """(lineage, last settled seq) of the lane; ("", 0) if it never ran."""
        state: _State | None = self._memory.lanes.get(self._key)
        return (state.lineage, state.seq) if state else ("", 0)

    def depth(self) -> int:
        """Entries in the lane's stream."""
        return len(self._here.entries)

    @property
    def _here(self) -> Stream:
        return self._memory.at(self._at)

    def _held(self, lease: Lease) -> _State | None:
        state: _State | None = self._memory.lanes.get(self._key)
        return state if state and (state.epoch, state.nonce) == (lease.epoch, lease.nonce) else None

    def _rows(self, ids: Sequence[Id]) -> tuple[list[bytes], list[list[bytes]]]:
        return [text_of(id_) for id_ in ids], [list(self._here.entries[id_]) for id_ in ids]

    def _group_position(self) -> Id:
        group = self._here.groups.get(self._edge)
        if group is None:
            raise NotDeclared(f"edge {self._edge!r} is not declared on stream {self._stream!r}: run `dataflow apply`")
        return group.last

    def _count(self, handled: int, written: int, dead: int) -> None:
        counts = self._memory.at(self._keys.stream(self._stream)).counts
        for way, n in (("handled", handled), ("out", written), ("dead", dead)):
            counts[f"{self._edge}.{way}"] += n


class MemoryTarget:
    """The double of `dataflow.store.target.StreamTarget`."""

    def __init__(self, memory: Memory, keys: Keys, writer: str, streams: Sequence[str]) -> None:
        self._memory, self._keys = memory, keys
        self._writer, self._names = writer, list(streams)

    def handshake(self, lineage: str, epoch: int) -> Known:
        """Shut out runners of a lower epoch and learn the last batch applied."""
        marker = self._marker(lineage)
        if epoch < marker.epoch:
            raise Fenced(
                f"edge {self._writer!r}: the target has seen epoch {marker.epoch}, ours is {epoch}", marker.epoch
            )
        known = Known(marker.seq, marker.digest, marker.epoch)
        marker.epoch = epoch
        return known

    def adopt(self, lineage: str, seq: int) -> int:
        """Take the source's word for it that batches up to `seq` were applied. Returns how many the target lacks."""
        marker = self._marker(lineage)
        lost = seq - marker.seq
        if lost > 0:
            marker.seq, marker.digest = seq, ""
        return max(0, lost)

    @staticmethod
    def pack(messages: Iterable[tuple[int, Sequence[bytes]]]) -> list[tuple[int, Sequence[bytes]]]:
        """Messages as `place` takes them."""
        return list(messages)

    def place(
        self,
        lineage: str,
        epoch: int,
        seq: int,
        digest: str,
        ids: Sequence[bytes],
        messages: Sequence[tuple[int, Sequence[bytes]]],
        prev: str = ANY,
        hop: str = "",
    ) -> bool:
        """Apply a batch: all messages, or none. True if it was new."""
        marker = self._marker(lineage)
        if epoch < marker.epoch:
            raise Fenced(f"edge {self._writer!r}: a newer runner is at work; nothing was written", marker.epoch)
        if (seq, digest) == (marker.seq, marker.digest):
            return False
        follows = prev in (ANY, marker.digest) or (marker.seq > 0 and not marker.digest)
        if seq != marker.seq + 1 or not follows:
            self._refuse(marker, seq)
        for number, wanted in Counter(target for target, _ in messages).items():
            check_room(self._names[number], self._stream(number), wanted, self._writer)
        for target, fields in messages:
            self._stream(target).append(_with_hop(fields, hop), self._writer, self._memory.now_ms())
        now = self._memory.now_ms()
        kept = {seq_: placed for seq_, placed in marker.placed.items() if placed[0] >= now - _KEEP_MS}
        marker.seq, marker.epoch, marker.digest = seq, epoch, digest
        marker.placed = {**kept, seq: (now, list(ids))}
        return True

    def _refuse(self, marker: _Marker, seq: int) -> NoReturn:
        if seq > marker.seq:
            raise TargetBehind(
                f"edge {self._writer!r}: the target remembers batch {marker.seq} as the last, the source sends {seq}"
            )
        known = [id_ for _, ids in marker.placed.values() for id_ in ids]
        raise BatchConflict(
            f"edge {self._writer!r}: the target has another batch {seq}", known, marker.seq, marker.digest
        )

    def _marker(self, lineage: str) -> _Marker:
        marker: _Marker = self._memory.markers.setdefault(self._keys.marker(lineage), _Marker())
        return marker

    def _stream(self, number: int) -> Stream:
        return self._memory.at(self._keys.stream(self._names[number]))


def _with_hop(fields: Sequence[bytes], hop: str) -> list[bytes]:
    """The fields of a message whose path, the second of them, goes on with a hop."""
    if not hop:
        return [*fields]
    mid, id_, path, before, *rest = fields
    node, _, at_ms = hop.rpartition("@")
    return [mid, id_, path, extend_path(before.decode(), node, int(at_ms)).encode(), *rest]
