"""What a worker process does, in five steps: read, decode, handle, write, settle.

The promise is kept by `settle` alone: in one script it writes the outputs of those entries that are still pending for
this consumer, acknowledges them and lets go of what no one needs any more. Whatever happens before it, or to it, can
happen again.
"""

from __future__ import annotations

import logging
import time
import traceback
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from dataflow.errors import Fault, InvalidMessage, StreamFull
from dataflow.flow.spec import Flow, Worker
from dataflow.message import Codec, foreign_id
from dataflow.store.hop import Hop
from dataflow.store.outcomes import Entry, Finished, Outcomes
from workers import fate
from workers.fate import Crashed
from workers.garbage import Garbage
from workers.handler import Handler, Pace
from workers.intake import Batch, Intake
from workers.patience import PASSING, Patience
from workers.pulse import Stage
from workers.task import Failed, Results, Task, Worked
from workers.writing import Writing

log = logging.getLogger("dataflow.worker")


@dataclass(slots=True)
class _Settling:
    """A batch that is being settled. `wait`: gives the answer to what Redis was asked; None: it is to be asked."""

    left: Outcomes
    together: bool
    wait: Callable[[], Finished] | None = None


class Loop:
    """Runs one worker process's share of a stream until told to stop. Not thread-safe.

    Args:
        consumer: the name this process is known by in the consumer group; never used before.
        patience: how errors that pass are waited for, and whether we are told to stop.
        predecessors: consumers of this worker that are known to be dead; what they held is run one by one.
    """

    def __init__(
        self,
        flow: Flow,
        worker: Worker,
        hop: Hop,
        consumer: str,
        handler: Handler,
        pace: Pace,
        patience: Patience,
        predecessors: Iterable[str] = (),
    ) -> None:
        self._worker, self._hop, self._consumer = worker, hop, consumer
        self._handler, self._pace, self._patience = handler, pace, patience
        self._codec = Codec(flow.streams[worker.source].schema)
        self.intake = Intake(hop, worker, consumer, predecessors)
        self._writing = Writing(flow, worker)
        self._garbage = Garbage()
        self._begun: list[Entry] = []
        self._spent = False
        self._settling: _Settling | None = None

    def run(self) -> None:
        """Work until told to stop; then what is in hand has been settled or handed back.

        Raises MemoryError when the worker's `memory_mb` is used up: this process must end, and what it held is suspect.
        """
        self._pace.pulse.reach(Stage.READY)
        while not self._patience.stopping():
            batch = self.read()
            tasks = self.decode(batch)
            worked = self.handle(batch, tasks)
            outcomes = self.write(worked)
            self.settle(outcomes, together=worked.together)
            self._check_memory()
        self._settled()
        if self.intake.reads_ahead:
            self._patience.few_times(self.intake.fetch, tries=1, default=None)
        self._patience.few_times(lambda: self._hop.hand_back(self._consumer, self._begun), tries=3, default=0)

    def read(self) -> Batch:
        """Step 1: what is in hand first, then what others left, then what is new."""
        if self.intake.empty:
            self._patience.until_done(self._fetch, default=None)
            self._read_ahead()
        return self.intake.next()

    def decode(self, batch: Batch) -> list[Task]:
        """Step 2: entries become messages; an entry that does not read as one carries its fault."""
        entries = batch.entries
        found = self._codec.decode_all([entry.fields for entry in entries]) if len(entries) > 1 else None
        if found is None or not all(found.mids):
            return [self._task(entry) for entry in entries]
        attempts = [attempt + 1 for attempt in found.attempts]
        return list(map(Task, entries, found.mids, found.paths, attempts, found.messages))

    def handle(self, batch: Batch, tasks: Sequence[Task]) -> Worked:
        """Step 3: run the user's function. What was not begun goes back into the hand."""
        faulty = [(task, Failed(task.fault)) for task in tasks if task.fault is not None]
        if faulty:
            self.intake.put_back([task.entry for task in tasks if task.fault is None])
            return Worked(faulty)
        if batch.alone:
            return self._handle_alone(tasks[0])
        if not tasks:
            return Worked()
        results = self._call(tasks)
        self._check_memory()
        if results.split is not None:
            self.intake.suspect(task.entry for task in tasks)
            facts = {"messages": len(tasks), "error": fate.named(results.split)}
            self._log(logging.WARNING, "the batch failed and is run message by message", **facts)
            return Worked()
        self.intake.put_back([task.entry for task in tasks[len(results.each) :]])
        return Worked(list(zip(tasks, results.each, strict=False)), results.together)

    def write(self, worked: Worked) -> Outcomes:
        """Step 4: results become stream entries, or the reason why not. Back-off counts by the server's clock."""
        now_ms = time.time_ns() // 1_000_000
        if any(isinstance(result, Failed) for _, result in worked.pairs):
            now_ms = self._patience.until_done(self._hop.now_ms, default=now_ms)
        return self._writing.outcomes(worked, now_ms)

    def settle(self, outcomes: Outcomes, *, together: bool = False) -> None:
        """Step 5: one script writes, acknowledges and deletes. Repeated until Redis has said what became of it.

        Under load, when the next batch has been asked for already, Redis does so while that is handled, and what became
        of this one is looked at before the next is settled. A full target is waited for: that is how pressure from
        below reaches the readers above.
        """
        self._settled()
        if not outcomes or self._patience.given_up:
            return
        self._settling = _Settling(outcomes, together)
        if self.intake.reads_ahead and self.intake.empty and not together and not self._begun:
            self._begin_to_settle(self._settling)
        else:
            self._settled()

    def _begin_to_settle(self, settling: _Settling) -> None:
        try:
            settling.wait = self._hop.begin_finish(self._consumer, settling.left)
        except PASSING as error:
            log.debug("to be tried again: %s", error)

    def _settled(self) -> None:
        """Wait until what was last settled is."""
        settling, self._settling = self._settling, None
        if settling is None:
            return
        done = self._patience.until_done(lambda: self._end(settling), default=None)
        if done is None:  # told to stop while it could not be settled: `run` hands it back
            return
        self._forget_begun(done)
        if done.lost:
            text = "entries had been finished before, or taken over by another process"
            self._log(logging.INFO, text, entries=len(done.lost))
        if settling.together:  # with one of them lost nothing was done, and the others are still ours
            lost = set(done.lost)
            self.intake.put_back([entry for entry, _ in settling.left if not done.done and entry.id not in lost])

    def _end(self, settling: _Settling) -> Finished:
        wait, settling.wait = settling.wait, None
        return self._finish(settling) if wait is None else wait()

    def _fetch(self) -> None:
        """Fill the hand. What is being settled is pending for us too: nothing else may be asked before it is done."""
        if not self.intake.reads_ahead:
            self._settled()
        if not self._patience.stopping():
            self.intake.fetch()

    def _read_ahead(self) -> None:
        try:
            self.intake.read_ahead()
        except PASSING as error:
            log.debug("to be tried again: %s", error)

    def _finish(self, settling: _Settling) -> Finished:
        """Finish all that is left. Where a target has room for a part, finish that before StreamFull is raised."""
        left, together = settling.left, settling.together
        try:
            return self._hop.finish(self._consumer, left, together=together)
        except StreamFull as full:
            n = 0 if together else self._writing.fitting(left, full)
            if n:
                self._hop.finish(self._consumer, left[:n])
                settling.left = left[n:]
            raise

    def _call(self, tasks: Sequence[Task]) -> Results:
        self._pace.start()
        self._garbage.in_hand(len(tasks))
        start = time.monotonic()
        results = self._handler.handle(tasks, self._pace)
        self.intake.appetite.ate(len(results.each), time.monotonic() - start)
        self._spent = self._worker.memory_mb is not None and out_of_memory(results)
        return results

    def _check_memory(self) -> None:
        """End the process after a MemoryError: who took the memory is not known, and it may never be given back.

        Of several messages each is suspect then, and the successor runs them one by one. One that ran alone has its
        outcome: it is settled first, as any failure.
        """
        if self._spent:
            self._settled()
            raise MemoryError(f"the handler has used up memory_mb ({self._worker.memory_mb})")

    def _task(self, entry: Entry) -> Task:
        try:
            decoded = self._codec.decode(entry.fields)
        except InvalidMessage as fault:
            return Task(entry, "", "", 1, {}, fault)
        except MemoryError:
            raise
        except Exception as error:  # noqa: BLE001 - whatever it is, it must not end the process again and again
            return Task(entry, "", "", 1, {}, InvalidMessage([Fault(0, "", "unreadable", fate.named(error))]))
        mid = decoded.mid or foreign_id(self._worker.source, origin(entry))
        return Task(entry, mid, decoded.path, decoded.attempt + 1, decoded.message)

    def _handle_alone(self, task: Task) -> Worked:
        """Run one message by itself, its attempt counted before it runs, so that a crash in it is remembered."""
        crashes = self._patience.until_done(lambda: self._hop.attempts(task.entry), default=-1)
        if crashes > 0:
            task.attempt += crashes - 1
            return Worked([(task, Failed(Crashed()))])
        if crashes < 0 or not self._patience.until_done(lambda: self._begin(task.entry), default=0):
            return Worked()
        results = self._call([task])
        return Worked([(task, result) for result in results.each], results.together)

    def _begin(self, entry: Entry) -> int:
        begun = self._hop.begin(self._consumer, entry)
        if begun:
            self._begun = [entry]
            self._pace.pulse.mark_alone(entry.lane.encode() + b"/" + entry.id)
        return begun

    def _forget_begun(self, done: Finished) -> None:
        if self._begun:
            self._begun = []
            self._pace.pulse.mark_alone(b"")
        if done.done:
            self._pace.pulse.reach(Stage.PROVEN)

    def _log(self, level: int, text: str, **facts: object) -> None:
        log.log(level, text, extra={"worker": self._worker.name, **facts})


def out_of_memory(results: Results) -> bool:
    """Whether a call got MemoryError. What its frames held is let go, so that there is room to tell of it."""
    errors = [result.error for result in results.each if isinstance(result, Failed)]
    found = [error for error in (*errors, results.split) if isinstance(error, MemoryError)]
    for error in found:
        traceback.clear_frames(error.__traceback__)
    return bool(found)


def origin(entry: Entry) -> str:
    """The id under which an entry came into the main stream, whatever lane it is in now."""
    names = entry.fields[::2]
    if b"_origin" in names:
        return entry.fields[2 * names.index(b"_origin") + 1].decode(errors="replace").partition("/")[2]
    return entry.id.decode()
