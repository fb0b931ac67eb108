"""Runs one lane of an edge. Celery, the command line and the continuous loop all come here.

A run moves batches, oldest first. Each takes these steps; the code below carries the same numbers:

    1 lease    take or keep the lease; after a take-over shut older runners out at the target
    2 read     the entries after the lane's position; or, where a batch is open, its entries again: they must be the
               same, and it goes on with step 5
    3 prepare  the sink decides which rows are good; too many bad ones pause the edge
    4 freeze   write the batch down at the source; nothing is sent before
    5 write    send it; the target tells a repeated batch from a new one. Where it refuses some row and does not say
               which, the first half is frozen in place of the batch, and so on
    6 settle   the target has it: move the position, bury refused rows, delete what no one needs
    7 confirm  where the target is another server, which may lose what it has just been told: nothing is deleted until
               it is asked again, some seconds later; what it has lost by then is read and sent again

Whatever breaks, a frozen batch stays as it is and the next run sends it again: the same entries under the same
identity. See docs/EDGES.md.
"""

from __future__ import annotations

import logging
import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import accumulate

from dataflow import holder
from dataflow.errors import BatchConflict, Fenced, NotDeclared, RowsRefused, TargetBehind
from dataflow.flow.spec import Edge
from dataflow.store.lane import Frozen, Lease, LeaseHeld, Refused, Waiting, content, digest, id_order
from sync.ahead import Ahead
from sync.refused import reasons, sentence
from sync.renewal import Renewal
from sync.run import GOOD, TROUBLE, Run, State, state_of
from sync.search import MOST_PIECES, Search
from sync.sink import Batch, Mode, Prepared, Refusal, Row, Sink, Verdict
from sync.source import Source

log = logging.getLogger("dataflow.sync")

BATCH_BYTES = 32 * 1024 * 1024
"""Most bytes of one batch, but for a single larger row."""
FIRST_GUESS_BYTES = 4096
"""How large a row is taken to be before any was read."""
DRIFT_ROWS = 20
"""From so many rows on, a batch of which more than half is refused pauses the edge."""
MOST_TRIES = 4
"""How often a lease or a conflict is tried again within one run."""
COUNT_REMAINING = 1000
LOOK_S = 1.0
"""How often a target is asked what it has, while something is to be confirmed."""

Stop = Callable[[], bool]


def never() -> bool:
    """A stop flag that is never set."""
    return False


class _Lost(Exception):
    """The target had lost something, and the lane went back: what is known of it holds no longer."""


class _Held(Exception):
    """The edge was paused by this run."""


@dataclass(frozen=True, slots=True)
class _Draft:
    """A batch that is not frozen yet. verdict: as text. size_bytes: of its entries."""

    ids: Sequence[bytes]
    rows: Sequence[Row]
    prepared: Prepared
    verdict: str
    digest: str
    size_bytes: int

    @classmethod
    def of(cls, ids: Sequence[bytes], rows: Sequence[Row], prepared: Prepared, whole: bytes | None = None) -> _Draft:
        """whole: the content of these entries, if that is known."""
        verdict, whole = prepared.verdict.to_json(), content(ids, rows) if whole is None else whole
        return cls(ids, rows, prepared, verdict, digest(whole, verdict), len(whole))


@dataclass(frozen=True, slots=True)
class _Work:
    """A frozen batch in hand. `applied`: the target is known to have it. `buried`: so many of its rows are in the dead
    letters, because the target had it before and has lost it.
    """

    frozen: Frozen
    ids: Sequence[bytes]
    rows: Sequence[Row]
    prepared: Prepared
    resent: bool = False
    applied: bool = False
    buried: int = 0

    @property
    def refused(self) -> Mapping[int, Refusal]:
        return self.prepared.verdict.refused

    @property
    def written(self) -> int:
        """Rows that are at the target once the batch is applied."""
        return self.frozen.count - len(self.refused) - self.buried


@dataclass(slots=True)
class _Counts:
    read: int = 0
    written: int = 0
    skipped: int = 0
    dead: int = 0
    batches: int = 0

    def add(self, work: _Work) -> None:
        skipped = len(work.prepared.verdict.skip) - work.buried
        self.read += work.frozen.count
        self.written += work.written - skipped
        self.skipped += skipped
        self.dead += len(work.refused)
        self.batches += 1


class Runner:
    """Moves batches of one lane. Keeps its lease and its open sink between runs; `leave` lets go of both.

    `mode` is how the target knew a batch again when it was last opened, None before.

    Used by one thread at a time. A sink is made when one is needed, and made anew after a run that went wrong: what it
    knew of the target may be out of date.
    """

    def __init__(self, edge: Edge, source: Source, make_sink: Callable[[], Sink]) -> None:
        self._edge = edge
        self._source = source
        self._make_sink = make_sink
        self._sink: Sink | None = None
        self.mode: Mode | None = None
        self._nonce = holder.new_nonce()
        self._lease_ms = int(edge.lease_s * 1000)
        self._lease: Lease | None = None
        self._shaken: tuple[str, int] | None = None
        self._apart = False
        self._look_at = 0.0
        self._source_ms = 0
        self._row_bytes = FIRST_GUESS_BYTES
        self._search = Search()
        self._renewal = Renewal(source, self._lease_ms)

    def run(self, max_batches: int | None = None, stop: Stop = never) -> Run:
        """Move batches until the source is empty, `max_batches` were moved or `stop` says so. Blocks.

        Never raises for what can go wrong with servers and data: the state says it. `stop` is asked between batches.
        """
        begun = time.monotonic()
        counts = _Counts()
        error = ""
        try:
            with Renewal(self._source, self._lease_ms) as self._renewal:
                state = self._try_to_move(max_batches, stop, counts)
        except _Held as held:
            state, error = "paused", str(held)
        except TROUBLE as problem:
            state, error = state_of(problem), str(problem)
        except BaseException:
            self._forget()
            raise
        if state not in GOOD:
            self._forget()
        remaining = 0 if state == "empty" else self._remaining()
        return Run(
            state, counts.read, counts.written, counts.skipped, counts.dead, remaining, counts.batches,
            time.monotonic() - begun, error, self.mode or "",
        )  # fmt: skip

    def waiting(self, count: int) -> Waiting:
        """What there is to do, without the lease; see Source."""
        return self._source.waiting(count)

    def leave(self, *, release: bool = True) -> bool:
        """Let go of the sink and the lease. Safe to call at any time; never raises for a server that is away.

        Args:
            release: False leaves the lease to run out, so that nobody waits for a server that does not answer.

        Returns whether the server answered, or was not asked.
        """
        self._forget()
        lease, self._lease = self._lease, None
        if lease is None or not release:
            return True
        try:
            self._source.release(lease)
        except TROUBLE as error:
            log.warning("the lease of edge %s was not released: %s", self._edge.name, error)
            return False
        return True

    def _try_to_move(self, max_batches: int | None, stop: Stop, counts: _Counts) -> State:
        for _ in range(MOST_TRIES):
            try:
                return self._move(max_batches, stop, counts)
            except _Lost as lost:
                log.warning("edge %s: %s", self._edge.name, lost)
        return "conflict"

    def _move(self, max_batches: int | None, stop: Stop, counts: _Counts) -> State:
        lease = self._acquire(0)  # 1
        if lease.paused:
            raise _Held(lease.paused)
        sink = self._open_sink()
        lease = self._shut_out(sink, lease)
        lease = self._confirm(sink, lease)  # 7
        work = self._resume(sink, lease)  # 2
        with Ahead(lambda position: self._draft(sink, position)) as ahead:
            return self._move_on(sink, lease, work, ahead, max_batches, stop, counts)

    def _move_on(
        self,
        sink: Sink,
        lease: Lease,
        work: _Work | None,
        ahead: Ahead[_Draft | None],
        max_batches: int | None,
        stop: Stop,
        counts: _Counts,
    ) -> State:
        while not stop():
            if work is None:
                if max_batches is not None and counts.batches >= max_batches:
                    return "more"
                lease = self._confirm(sink, lease)  # 7
                if lease.leaving:
                    return "held"
                work = self._next(sink, lease, ahead.after(lease.position))  # 2, 3, 4
            if work is None:
                return "empty"
            if len(work.ids) >= self._edge.batch and counts.batches + 1 != max_batches:
                ahead.begin(work.frozen.last)
            work = self._write(sink, lease, work)  # 5
            lease = self._settle(lease, work)  # 6
            counts.add(work)
            work = None
        return "stopped"

    # 1 lease

    def _shut_out(self, sink: Sink, lease: Lease) -> Lease:
        """After a take-over: make the target refuse older runners."""
        if self._shaken == (lease.lineage, lease.epoch):
            return lease
        for _ in range(MOST_TRIES):
            try:
                marker = sink.handshake(lease.lineage, lease.epoch)
            except Fenced as newer:  # the source has lost its last writes, and the target remembers them
                lease = self._acquire(newer.epoch + 1)
            else:
                self._shaken = lease.lineage, lease.epoch
                self._apart = marker is not None and marker.run_id != ""
                return lease
        raise Fenced(f"edge {self._edge.name!r}: the target keeps seeing newer runners")

    def _acquire(self, least_epoch: int) -> Lease:
        try:
            self._lease = self._try_acquire(least_epoch)
        except NotDeclared:
            if not self._source.mend():
                raise
            self._lease = self._try_acquire(least_epoch)
        self._source_ms = self._lease.at_ms
        return self._lease

    def _try_acquire(self, least_epoch: int) -> Lease:
        lineage = secrets.token_hex(8)
        try:
            return self._source.acquire(self._nonce, self._lease_ms, lineage, least_epoch)
        except LeaseHeld as held:
            if not holder.is_dead(held.holder):
                raise
            return self._source.acquire(self._nonce, self._lease_ms, lineage, least_epoch, held.holder)

    # 2 read, where a batch is open

    def _resume(self, sink: Sink, lease: Lease) -> _Work | None:
        frozen = lease.open
        if frozen is None:
            return None
        ids, rows = self._source.reread(frozen)
        if digest(content(ids, rows), frozen.verdict) == frozen.digest:
            prepared = sink.prepare(rows, Verdict.from_json(frozen.verdict))
            return _Work(frozen, ids, rows, prepared, resent=True, buried=_buried(lease, ids))
        return self._damaged(sink, lease, frozen, ids, rows)

    def _damaged(self, sink: Sink, lease: Lease, frozen: Frozen, ids: Sequence[bytes], rows: Sequence[Row]) -> _Work:
        """Entries of a frozen batch were deleted by someone else. If the target has the batch, no harm was done."""
        marker = sink.handshake(lease.lineage, lease.epoch)
        if marker is not None and (marker.seq, marker.digest) == (frozen.seq, frozen.digest):
            return _Work(
                frozen, ids, rows, sink.prepare(rows, None), resent=True, applied=True, buried=_buried(lease, ids)
            )
        raise self._held(
            f"entries of the frozen batch {frozen.seq} were deleted or changed by another program: {len(ids)} of "
            f"{frozen.count} are left between {frozen.first.decode()} and {frozen.last.decode()}. Nothing was sent. "
            f"`dataflow resume {self._edge.name} --accept-loss` goes on with what is left"
        )

    # 2 read, 3 prepare, 4 freeze

    def _draft(self, sink: Sink, position: bytes) -> _Draft | None:
        """What comes next, as far as that can be told without the lease. Runs beside the writing of the last batch."""
        ids, rows, whole = self._read(position)  # 2
        return _Draft.of(ids, rows, sink.prepare(rows, None), whole) if ids else None  # 3

    def _next(self, sink: Sink, lease: Lease, draft: _Draft | None) -> _Work | None:
        if draft is None:
            return None
        self._refuse_drift(lease, draft.ids, draft.prepared.verdict)
        work = self._freeze(lease, lease.seq + 1, lease.digest, _without_buried(sink, lease, draft))  # 4
        self._search.begin(len(work.ids))
        return work

    def _read(self, position: bytes) -> tuple[Sequence[bytes], Sequence[Row], bytes]:
        """The next entries, as many as are likely to stay below BATCH_BYTES, and no more than do; and their content."""
        count = max(1, min(self._search.most(self._edge.batch), BATCH_BYTES // self._row_bytes))
        ids, rows = self._source.read(position, count)
        whole = content(ids, rows)
        if len(whole) > BATCH_BYTES:
            fitting = _fitting(rows)
            ids, rows = ids[:fitting], rows[:fitting]
            whole = content(ids, rows)
        return ids, rows, whole

    def _refuse_drift(self, lease: Lease, ids: Sequence[bytes], verdict: Verdict, *, sent: bool = False) -> None:
        """Many bad rows at once are no bad rows but a changed schema: nothing is sent and nothing is buried.

        `sent`: the target has taken the good rows already, and told only then what it refuses.
        """
        misfits = {index: why for index, why in verdict.refused.items() if not why.foreseen}
        if self._source.name == "retry" or len(ids) < DRIFT_ROWS or 2 * len(misfits) <= len(ids):
            return
        if lease.bury_to and id_order(ids[-1]) <= id_order(lease.bury_to):
            return
        raise self._held(
            f"{len(misfits)} of {len(ids)} messages do not fit the target ({reasons(misfits.values())}). "
            f"{'The others arrived' if sent else 'Nothing was sent'}. Mend the target or the flow and "
            f"`dataflow resume {self._edge.name}`, or add --bury to move messages that do not fit to the dead letters"
        )

    def _freeze(self, lease: Lease, seq: int, prev: str, draft: _Draft, replaces: Frozen | None = None) -> _Work:
        ids = draft.ids
        self._row_bytes = draft.size_bytes // len(ids) + 1
        batch = Frozen(seq, draft.digest, ids[0], ids[-1], len(ids), draft.verdict, 0, prev)
        frozen = self._source.freeze(lease, self._lease_ms, lease.position, batch, replaces=replaces)
        self._source_ms = frozen.frozen_ms
        return _Work(frozen, ids, draft.rows, draft.prepared, buried=_buried(lease, ids))

    # 5 write

    def _write(self, sink: Sink, lease: Lease, work: _Work) -> _Work:
        """Send until the target has it. Returns the work as it was applied: after a conflict it is another."""
        for _ in range(MOST_TRIES):
            if work.applied:
                return work
            try:
                with self._renewal.during(lease):
                    sink.write(_batch(lease, work), work.prepared)
            except BatchConflict as conflict:
                work = self._reconcile(sink, lease, work, conflict)
            except RowsRefused as refused:
                return self._write(sink, lease, self._split(sink, lease, work, refused))
            except TargetBehind as behind:
                self._look(sink, lease)
                raise self._held(f"{behind}. {self._how_to_accept}") from behind
            else:
                return work
        raise BatchConflict(f"edge {self._edge.name!r}: the target keeps having another batch", [], work.frozen.seq)

    def _reconcile(self, sink: Sink, lease: Lease, work: _Work, conflict: BatchConflict) -> _Work:
        """The source lost its last writes: freeze anew, past everything that the target knows, and skip that."""
        log.warning("%s; reconciling", conflict, extra={"edge": self._edge.name, "last_seq": conflict.last_seq})
        last = max((work.frozen.last, *conflict.applied_ids), key=id_order)
        ids, rows = self._source.read_to(lease.position, last)
        known = frozenset(conflict.applied_ids)
        skip = frozenset(index for index, id_ in enumerate(ids) if id_ in known)
        fresh = sink.prepare(rows, None).verdict
        refused = {index: why for index, why in fresh.refused.items() if index not in skip}
        self._refuse_drift(lease, ids, replace(fresh, refused=refused), sent=bool(skip))
        prepared = sink.prepare(rows, replace(fresh, refused=refused, skip=skip))
        draft = _without_buried(sink, lease, _Draft.of(ids, rows, prepared))
        return self._freeze(lease, conflict.last_seq + 1, conflict.last_digest, draft, replaces=work.frozen)

    def _split(self, sink: Sink, lease: Lease, work: _Work, refused: RowsRefused) -> _Work:
        """The target refuses some row: freeze the first half of the batch, or the batch without the one row left.

        The rest is read again when that is settled. So what is sent is always what is written down, whole.
        """
        known = frozenset(refused.applied_ids)
        verdict = work.prepared.verdict
        skip = verdict.skip | {index for index, id_ in enumerate(work.ids) if id_ in known}
        left = [index for index in range(len(work.ids)) if index not in verdict.refused and index not in skip]
        if not left:
            return replace(work, applied=True)
        self._refuse_hopeless(lease, work, refused)
        end, bad = len(work.ids), dict(verdict.refused)
        if len(left) > 1:
            end = left[len(left) // 2]
        else:
            bad[left[0]] = Refusal("", "", f"the target refuses it: {refused}")
        log.warning("%s; %d of %d rows are tried first", refused, end, len(work.ids), extra={"edge": self._edge.name})
        kept = {index: why for index, why in bad.items() if index < end}
        narrowed = replace(verdict, refused=kept, skip=frozenset(index for index in skip if index < end))
        draft = _Draft.of(work.ids[:end], work.rows[:end], sink.prepare(work.rows[:end], narrowed))
        self._search.cut(len(work.ids) - end)
        return self._freeze(lease, work.frozen.seq + 1, work.frozen.prev, draft, replaces=work.frozen)

    def _refuse_hopeless(self, lease: Lease, work: _Work, refused: RowsRefused) -> None:
        """Do not bury one by one what a changed table refuses altogether."""
        if not self._search.hopeless or (lease.bury_to and id_order(work.ids[-1]) <= id_order(lease.bury_to)):
            return
        self._search = Search()
        raise self._held(
            f"the target refuses more rows than can be found one by one (at most {MOST_PIECES} pieces of a batch are "
            f"tried): {refused}. Mend the target or the flow and `dataflow resume {self._edge.name}`, or add --bury to "
            "move all that it refuses to the dead letters"
        )

    # 6 settle

    def _settle(self, lease: Lease, work: _Work) -> Lease:
        refused = [Refused(work.ids[index], sentence(why)) for index, why in sorted(work.refused.items())]
        settle = partial(
            self._source.settle, lease, self._lease_ms, work.frozen, work.written, refused,
            keep=self._apart, buried=work.buried,
        )  # fmt: skip
        try:
            settle()
        except NotDeclared:
            if not self._source.mend():
                raise
            settle()
        self._search.settle(work.written, len(work.refused))
        self._lease = replace(
            lease, seq=work.frozen.seq, digest=work.frozen.digest, position=work.frozen.last, open=None,
            unconfirmed=lease.unconfirmed + self._apart,
        )  # fmt: skip
        return self._lease

    # 7 confirm

    def _confirm(self, sink: Sink, lease: Lease) -> Lease:
        """From time to time: let the source delete what the target cannot lose any more.

        Raises _Lost when it has lost something: everything begins anew.
        """
        if not lease.unconfirmed or time.monotonic() < self._look_at:
            return lease
        self._look_at = time.monotonic() + LOOK_S
        return self._look(sink, lease)

    def _look(self, sink: Sink, lease: Lease) -> Lease:
        """Ask the target what it has. The answer is worth something only after `_source_ms`, when it was not asked."""
        marker = sink.handshake(lease.lineage, lease.epoch)
        if marker is None or not marker.run_id:
            return lease
        told = self._source.confirm(lease, marker.run_id, marker.seq, marker.digest, self._source_ms)
        if told.lost:
            raise _Lost(f"the target has lost its last writes; {told.lost} entries are read again")
        if told.behind:
            raise self._held(
                f"the target remembers batch {marker.seq} as the last and has lost batches that it had confirmed "
                f"(restored from an older copy?). {self._how_to_accept}"
            )
        self._lease = replace(lease, unconfirmed=told.unconfirmed)
        return self._lease

    # what the steps share

    def _open_sink(self) -> Sink:
        if self._sink is None:
            sink = self._make_sink()
            try:
                sink.open()
            except BaseException:
                sink.close()
                raise
            self._sink, self.mode = sink, sink.mode
        return self._sink

    def _forget(self) -> None:
        """Let go of the sink, and of what we believe about the target."""
        self._shaken = None
        sink, self._sink = self._sink, None
        if sink is not None:
            sink.close()

    @property
    def _how_to_accept(self) -> str:
        return (
            f"Nothing was sent. `dataflow resume {self._edge.name} --accept-loss` gives up what the target has lost "
            "and goes on"
        )

    def _held(self, reason: str) -> _Held:
        """Pause the edge; raise what it returns."""
        log.error("edge %s paused: %s", self._edge.name, reason)
        self._source.hold(reason)
        return _Held(reason)

    def _remaining(self) -> int:
        try:
            return self._source.waiting(COUNT_REMAINING).count
        except TROUBLE:
            return 0


def _buried(lease: Lease, ids: Sequence[bytes]) -> int:
    """How many of a batch's entries were buried when the target had it before."""
    return sum(id_ in lease.buried for id_ in ids) if lease.buried else 0


def _without_buried(sink: Sink, lease: Lease, draft: _Draft) -> _Draft:
    """Pass over entries that are in the dead letters already."""
    if not _buried(lease, draft.ids):
        return draft
    known = frozenset(index for index, id_ in enumerate(draft.ids) if id_ in lease.buried)
    verdict = draft.prepared.verdict
    refused = {index: why for index, why in verdict.refused.items() if index not in known}
    prepared = sink.prepare(draft.rows, replace(verdict, refused=refused, skip=verdict.skip | known))
    return _Draft.of(draft.ids, draft.rows, prepared)


def _batch(lease: Lease, work: _Work) -> Batch:
    frozen = work.frozen
    return Batch(
        lease.lineage, frozen.seq, frozen.digest, lease.epoch, lease.nonce, work.ids, work.rows, frozen.frozen_ms,
        work.resent, lease.doubts(work.ids, [row[1] for row in work.rows]), frozen.prev,
    )  # fmt: skip


def _fitting(rows: Sequence[Row]) -> int:
    """How many rows stay below BATCH_BYTES together; at least one."""
    sizes = accumulate(sum(map(len, row)) for row in rows)
    return max(1, sum(1 for size in sizes if size <= BATCH_BYTES))
