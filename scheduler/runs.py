"""The runs of tasks: ticks that fire once, runs elsewhere whose end is looked for, what is written down of them.

A tick fires if no run of the task is under way, the lease is ours, and both servers say that it has not fired: Redis
(with the lease, in one step) and MongoDB (`last_tick < t` becomes t), which is passed over while it is away.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping
from typing import Any
from uuid import uuid4

from dataflow.errors import DataflowError, ServerAway, UserError
from dataflow.store.leadership import Leadership
from scheduler import record as rules
from scheduler.jobs.edge import EXPIRED, HELD, Hints
from scheduler.jobs.kinds import Jobs
from scheduler.reach import Reach
from scheduler.record import Outcome, Record
from scheduler.task import Task
from scheduler.tasks import Tasks

log = logging.getLogger("dataflow.scheduler")


class Runs:
    """The records of all tasks, as long as we lead. Thread-safe.

    Args:
        tasks: the documents.
        reach: whether they can be reached.
        leadership: the lease.
        jobs, hints: what tasks do.
        clock: seconds since 1970.
    """

    def __init__(
        self, tasks: Tasks, reach: Reach, leadership: Leadership, jobs: Jobs, hints: Hints, clock: Callable[[], float]
    ) -> None:
        self._tasks, self._reach, self._leadership, self._jobs, self._hints = tasks, reach, leadership, jobs, hints
        self._clock = clock
        self._records: dict[str, Record] = {}
        self._dirty: set[str] = set()
        self._busy: set[str] = set()
        self._read = False
        self._lock = threading.RLock()

    def now_ms(self) -> int:
        """The time."""
        return int(self._clock() * 1000)

    def of(self, pid: str) -> Record:
        """The record of one task."""
        with self._lock:
            return self._records.get(pid, Record())

    def all(self) -> Mapping[str, Record]:
        """pid -> record, of all tasks that have one."""
        with self._lock:
            return dict(self._records)

    def change(self, pid: str, change: Callable[[Record], Record]) -> None:
        """Change a record; it is written down by the next `write`."""
        with self._lock:
            before = self._records.get(pid, Record())
            after = change(before)
            if after != before:
                self._records[pid] = after
                self._dirty.add(pid)

    def forget(self) -> None:
        """Know nothing: someone else leads."""
        with self._lock:
            self._records, self._dirty, self._read = {}, set(), False

    def read(self) -> None:
        """Once per term: what the documents know, with the runs that were made meanwhile. Raises ServerAway."""
        if self._read:
            return
        found = {pid: Record.of(document) for pid, document in self._tasks.records().items()}
        with self._lock:
            for pid, stored in found.items():
                own = self._records.get(pid)
                self._records[pid] = rules.merged(stored, own) if own else rules.interrupted(stored, self.now_ms())
                self._dirty.add(pid)
            self._read = True

    def write(self) -> None:
        """Write down what changed, later what cannot be written now. Raises ServerAway, TasksRefused."""
        if self._reach.trouble or not self._read:
            return
        with self._lock:
            todo, self._dirty = {pid: self._records[pid] for pid in self._dirty}, set()
        try:
            for pid, record in list(todo.items()):
                self._tasks.write(pid, record.as_document())
                del todo[pid]
        finally:
            with self._lock:
                self._dirty |= set(todo)

    def rebase(self) -> None:
        """Put times right that a clock has written which was set back since. Raises ServerAway, TasksRefused."""
        for pid, record in self.all().items():
            right = rules.rebased(record, self.now_ms())
            if right is not record and not self._reach.trouble:
                log.warning("task %s: its last tick lies in the future and counts as now: was the clock set back?", pid)
                self._tasks.rebase(pid, record.last_tick, right.last_tick)
                self.change(pid, lambda _, right=right: right)  # type: ignore[misc]

    def begin(self, task: Task, tick: int) -> None:
        """Fire a tick, unless it has fired or a run is under way: do the job (blocks), or ask for the run."""
        with self._lock:
            if task.pid in self._busy:
                self.change(task.pid, rules.skipped)
                return
            self._busy.add(task.pid)
        try:
            self._begin(task, tick)
        finally:
            with self._lock:
                self._busy.discard(task.pid)

    def _begin(self, task: Task, tick: int) -> None:
        try:
            self.collect(task.pid, task)
        except DataflowError as error:
            log.debug("%s", error)
        if self.of(task.pid).under_way:
            self.change(task.pid, rules.skipped)
            return
        try:
            job = self._jobs.find(task.job_name)
        except UserError as error:
            self._reach.say(task.pid, str(error))
            return
        begun = rules.begun(self.of(task.pid), tick, self.now_ms(), _new_hint() if job.elsewhere else "")
        if not self._claimed(task.pid, tick, begun):
            return
        self.change(task.pid, lambda _: begun)
        self._run(task, tick, begun.hint)

    def collect(self, pid: str, task: Task | None, *, again: bool = True) -> None:
        """Learn how a run elsewhere has ended; ask again if its hint may be lost.

        Args:
            task: None if it is gone.
            again: whether runs may be asked for again.

        Raises ServerAway.
        """
        record = self.of(pid)
        if not record.waits_for_hint:
            return
        outcome = self._hints.outcome(record.hint)
        if outcome is not None and _tells_the_end(outcome, record):
            self._end(pid, outcome, record.hint)
        elif not rules.must_resend(record, self.now_ms()):
            return
        elif task is None or not again:
            self._end(pid, Outcome("unknown", "no answer; not asked again, as the task does not run any more"))
        else:
            log.info("task %s: no answer to the hint for tick %d, it is sent again", pid, record.due)
            hint = _new_hint()
            self.change(pid, lambda r: rules.sent(r, hint, self.now_ms()))
            self._run(task, record.due, hint)

    def _claimed(self, pid: str, tick: int, begun: Record) -> bool:
        try:
            if not self._leadership.claim(pid, tick, self.now_ms()):
                return False
        except DataflowError as error:
            self._reach.say("ticks", f"they do not fire: {error}")
            return False
        self._reach.say("ticks", "")
        if self._reach.trouble:
            return True
        try:
            won = self._tasks.claim(pid, tick, _begin_fields(begun))
        except ServerAway as error:
            self._reach.lost(str(error))
        except DataflowError as error:
            self._reach.say(f"{pid} at its tick", str(error))
        else:
            self._reach.say(f"{pid} at its tick", "")
            return won
        return True

    def _run(self, task: Task, tick: int, hint: str) -> None:
        try:
            outcome = self._jobs.find(task.job_name).run(task.arguments, tick, hint)
        except DataflowError as error:
            outcome = Outcome("error", str(error))
        if outcome is not None:
            self._end(task.pid, outcome)

    def _end(self, pid: str, outcome: Outcome, hint: str | None = None) -> None:
        """Note the end of the run under way; with `hint`, only if that is the one which was asked for last."""
        self._reach.say(pid, outcome.error)
        now = self.now_ms()
        self.change(pid, lambda r: rules.ended(r, outcome, now) if hint in (None, r.hint) and r.under_way else r)


def _tells_the_end(outcome: Outcome, record: Record) -> bool:
    """Whether the outcome of the hint sent last is that of the run.

    Who asked once and met another runner had no run. Who asked again has perhaps met the run that the first hint began,
    or one that died; that one is waited for.
    """
    return outcome.state != EXPIRED and not (outcome.state == HELD and record.resent)


def _begin_fields(begun: Record) -> dict[str, Any]:
    return {"due": begun.due, "hint": begun.hint, "sent_at": begun.sent_at, "resent": begun.resent}


def _new_hint() -> str:
    """Known before the message is sent, so that whoever takes over can ask for its outcome."""
    return uuid4().hex
