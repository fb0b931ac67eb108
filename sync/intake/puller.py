"""Runs an edge of kind mongo2s. A run takes these steps; the code below carries the same numbers:

    1 look    what is the end of the collection, and are its documents in order; what was the end `settle_s` ago may be
              read
    2 lease   take or keep the lease, and learn the position
    3 read    the documents after the position, up to there
    4 make    messages of them; what cannot be one is a dead letter; too many of these pause the edge
    5 take    messages, dead letters and the new position: one step on the Redis of the target, all or nothing

Nothing is written down before: if the outcome of the fifth step is unknown, the next run reads the position.
"""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass, field, replace

from dataflow import holder
from dataflow.flow.spec import Edge, Flow
from dataflow.outbox import Position
from dataflow.store.alarms import raise_alarm
from dataflow.store.intake import Intake, IntakeLease
from dataflow.store.keys import Keys
from dataflow.store.lane import LeaseHeld, Waiting
from dataflow.store.redis import Client
from dataflow.store.resume import PAUSED
from sync.intake.collection import Disorder, OrderedCollection
from sync.intake.horizon import Horizon
from sync.intake.messages import Messages, Misfit
from sync.pauses import note_pause
from sync.refused import reasons
from sync.run import GOOD, TROUBLE, Run, State, state_of
from sync.runner import BATCH_BYTES, COUNT_REMAINING, DRIFT_ROWS, Stop, never
from sync.sink import Mode, Row

log = logging.getLogger("dataflow.sync")

LOOK_S = 0.1
"""How often a run that waits for documents to settle looks at the stop flag."""


class _Held(Exception):
    """The edge was paused by this run."""


@dataclass(slots=True)
class _Batch:
    """Documents that were read, as messages and dead letters, and the position of the last one."""

    messages: list[Row] = field(default_factory=list)
    misfits: list[Misfit] = field(default_factory=list)
    last: Position | None = None
    bytes: int = 0

    @property
    def count(self) -> int:
        return len(self.messages) + len(self.misfits)


@dataclass(slots=True)
class _Counts:
    written: int = 0
    dead: int = 0
    batches: int = 0

    def add(self, batch: _Batch) -> None:
        self.written += len(batch.messages)
        self.dead += len(batch.misfits)
        self.batches += 1


class Puller:
    """Moves the documents of one collection into a stream. Keeps its lease between runs; `leave` lets go of it.

    Used by one thread at a time.

    Args:
        flow, edge: as declared; the edge is of kind mongo2s.
        redis: the server of the target stream.
        collection: what is read.
        home: the server with the history of the flow; None: the same as `redis`.
    """

    mode: Mode | None = "position"

    def __init__(
        self, flow: Flow, edge: Edge, redis: Client, collection: OrderedCollection, home: Client | None = None
    ) -> None:
        self._flow = flow
        self._edge = edge
        self._redis = redis
        self._home = home or redis
        self._intake = Intake(redis, Keys(flow.name), edge)
        self._collection = collection
        self._messages = Messages(edge, flow.streams[edge.anchor].schema)
        self._horizon = Horizon(edge.settle_s)
        self._nonce = holder.new_nonce()
        self._lease_ms = int(edge.lease_s * 1000)
        self._lease: IntakeLease | None = None

    def waiting(self, count: int) -> Waiting:
        """What there is to do, counted up to `count`: documents that have settled. Raises as `Intake`, and for MongoDB.

        A collection out of order counts as one document: the run tells what is wrong.
        """
        text, paused = self._intake.standing()
        if paused:
            return Waiting(0, 0, paused=paused)
        position = Position.load(text)
        try:
            self._look(position)
        except Disorder:
            return Waiting(1, 0)
        return Waiting(self._settled(position, count), 0)

    def run(self, max_batches: int | None = None, stop: Stop = never) -> Run:
        """Move what is in the collection now, or `max_batches`, or until `stop` says so. Blocks.

        Where this process has not yet seen the end of the collection for `settle_s`, it waits for that first. Never
        raises for what can go wrong with servers and data: the state says it.
        """
        begun, counts, error = time.monotonic(), _Counts(), ""
        try:
            state = self._move(max_batches, stop, counts)
        except (Disorder, _Held) as held:
            state, error = self._hold(held)
        except TROUBLE as problem:
            state, error = state_of(problem), str(problem)
        return Run(
            state, counts.written + counts.dead, counts.written, 0, counts.dead, self._remaining(state), counts.batches,
            time.monotonic() - begun, error,
        )  # fmt: skip

    def leave(self, *, release: bool = True) -> bool:
        """Let go of the lease. Safe to call at any time; never raises for a server that is away.

        Args:
            release: False leaves the lease to run out, so that nobody waits for a server that does not answer.

        Returns whether the server answered, or was not asked.
        """
        lease, self._lease = self._lease, None
        if lease is None or not release:
            return True
        try:
            self._intake.release(lease)
        except TROUBLE as error:
            log.warning("the lease of edge %s was not released: %s", self._edge.name, error)
            return False
        return True

    def _move(self, max_batches: int | None, stop: Stop, counts: _Counts) -> State:
        self._wait_for_the_horizon(stop)  # 1
        lease = self._acquire()  # 2
        while not stop():
            if max_batches is not None and counts.batches >= max_batches:
                return "more"
            batch = self._read(Position.load(lease.position))  # 3, 4
            if batch.last is None:
                if lease.bury:
                    self._intake.stop_burying()
                return "empty"
            self._refuse_drift(lease, batch)
            lease = self._take(lease, batch, batch.last.dump())  # 5
            counts.add(batch)
        return "stopped"

    # 1 look

    def _look(self, position: Position | None) -> None:
        self._horizon.see(self._collection.last(position))

    def _settled(self, position: Position | None, count: int) -> int:
        settled = self._horizon.settled
        return 0 if settled is None else self._collection.count(position, settled, count)

    def _wait_for_the_horizon(self, stop: Stop) -> None:
        text, paused = self._intake.standing()
        if paused:
            raise _Held(paused)
        position = Position.load(text)
        self._look(position)
        if not self._collection.count(position, None, 1):
            return
        while self._horizon.settled is None and not stop():
            time.sleep(min(LOOK_S, self._horizon.left_s))
            self._look(position)

    # 2 lease

    def _acquire(self) -> IntakeLease:
        try:
            lease = self._intake.acquire(self._nonce, self._lease_ms)
        except LeaseHeld as held:
            if not holder.is_dead(held.holder):
                raise
            lease = self._intake.acquire(self._nonce, self._lease_ms, held.holder)
        if lease.paused:
            raise _Held(lease.paused)
        self._lease = lease
        return lease

    # 3 read, 4 make

    def _read(self, position: Position | None) -> _Batch:
        """The next batch; no larger than BATCH_BYTES, but for the last of it."""
        batch, settled = _Batch(), self._horizon.settled
        if settled is None:
            return batch
        now_ms = time.time_ns() // 1_000_000
        for document in self._collection.read(position, settled, self._edge.batch):
            made = self._messages.make(document, now_ms)
            if isinstance(made, Misfit):
                batch.misfits.append(made)
            else:
                batch.messages.append(made)
            batch.last = self._collection.order.position(document)
            batch.bytes += sum(map(len, made.letter if isinstance(made, Misfit) else made))
            if batch.bytes > BATCH_BYTES:
                break
        return batch

    def _refuse_drift(self, lease: IntakeLease, batch: _Batch) -> None:
        """Many misfits at once are no bad documents but a changed schema: nothing is taken and nothing is buried."""
        if lease.bury or batch.count < DRIFT_ROWS or 2 * len(batch.misfits) <= batch.count:
            return
        why = reasons([misfit.why for misfit in batch.misfits])
        raise _Held(
            f"{len(batch.misfits)} of {batch.count} documents do not fit the stream ({why}). Nothing was taken. Mend "
            f"the documents or the flow (`fields`, the schema of {self._edge.anchor}) and `dataflow resume "
            f"{self._edge.name}`, or add --bury to move documents that do not fit to the dead letters"
        )

    # 5 take

    def _take(self, lease: IntakeLease, batch: _Batch, last: str) -> IntakeLease:
        letters = [misfit.letter for misfit in batch.misfits]
        self._intake.take(lease, self._lease_ms, last, batch.messages, letters)
        return replace(lease, position=last)

    # what the steps share

    def _hold(self, held: Disorder | _Held) -> tuple[State, str]:
        """Pause the edge until a person resumes it, raise an alarm that says why, and note it in the history."""
        reason = str(held)
        if isinstance(held, Disorder):
            reason += f". Nothing was taken. Mend the documents and `dataflow resume {self._edge.name}`"
        try:
            if self._intake.standing()[1] != reason:
                log.error("edge %s paused: %s", self._edge.name, reason)
                raise_alarm(self._redis, Keys(self._flow.name), PAUSED, self._edge.name, reason)
                self._intake.pause(reason)
                note_pause(self._home, self._flow, self._edge.name, reason)
        except TROUBLE as problem:
            return state_of(problem), str(problem)
        return "paused", reason

    def _remaining(self, state: State) -> int:
        """Documents after the position, settled or not; counted up to a thousand."""
        if state not in GOOD:
            return 0
        try:
            return self._collection.count(Position.load(self._intake.standing()[0]), None, COUNT_REMAINING)
        except TROUBLE:
            return 0
