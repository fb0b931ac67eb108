"""The loop: reads the documents every few seconds and makes reality match. One process per machine name leads.

A turn: follow the flow; take or keep the lease (without it: stand by); read the documents (MongoDB away: go on with
what is known); bring the flow's own schedules into them; bring every task to the state that it should have; look for
the end of runs elsewhere; begin the runs that someone asks for; write down what happened.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, tzinfo
from typing import Final

from dataflow.errors import DataflowError, UserError
from dataflow.masking import mask_urls
from dataflow.schedule import zone
from dataflow.store.leadership import Leadership
from scheduler import record as rules
from scheduler.board import Board
from scheduler.changes import Changes
from scheduler.declare import declare
from scheduler.jobs.edge import Hints
from scheduler.jobs.kinds import Jobs
from scheduler.live_flow import LiveFlow
from scheduler.machine import State, decide, state_of
from scheduler.reach import Reach
from scheduler.runs import Runs
from scheduler.task import Task, tasks_of
from scheduler.tasks import Tasks

log = logging.getLogger("dataflow.scheduler")

LOOK_EVERY_S: Final = 2.0
NO_FURTHER_RUN: Final = "its schedule has no further run"
"""Why a task that has run its course is init."""
SHOWN: Final = 3
"""Of how many tasks that cannot be followed `trouble` tells."""
WHY_CHARACTERS: Final = 300
"""How much it tells of each."""
CLOCK_STEP_S: Final = 2.0
"""The clock was set if it went so much more, or less, than time did between two turns."""

Clock = Callable[[], float]


class Loop:
    """Schedules the tasks of one machine. `turn` may be called from any thread; turns happen one after the other.

    Args:
        flow: the flow, followed.
        tasks: the documents.
        leadership: the lease.
        jobs, hints: what tasks do.
        changes: where changes of states are noted.
        clock: seconds since 1970.
    """

    def __init__(
        self,
        flow: LiveFlow,
        tasks: Tasks,
        leadership: Leadership,
        jobs: Jobs,
        hints: Hints,
        changes: Changes,
        clock: Clock = time.time,
    ) -> None:
        self._flow, self._tasks, self._leadership, self._jobs = flow, tasks, leadership, jobs
        self._changes = changes
        self._clock = clock
        self._offset = clock() - time.monotonic()
        self._reach = Reach()
        self._board = Board(self._fire)
        self._known: dict[str, Task] | None = None
        self._states: dict[str, State] = {}
        self._hindered: dict[str, str] = {}
        self._declared = False
        self._turns = threading.RLock()
        self._extra = ThreadPoolExecutor(4, thread_name_prefix="asked")
        self.runs = Runs(tasks, self._reach, leadership, jobs, hints, clock)
        self.held_by = ""
        """Who leads, if it is someone else."""

    @property
    def leads(self) -> bool:
        """Whether this process is the one that schedules."""
        return self._leadership.leads

    @property
    def ready(self) -> bool:
        """Whether the documents have been read at least once."""
        return self._known is not None

    @property
    def trouble(self) -> str:
        """Why the documents cannot be reached, or which tasks cannot be followed and why; "" if all is well."""
        return self._reach.trouble or _told_of_some(dict(self._hindered))

    def start(self) -> None:
        """Begin to keep time; `turn` does the rest."""
        self._board.start()

    def stop(self) -> None:
        """Fire no more ticks, let those in hand end, write down what happened, let go of the lease."""
        self._board.stop()
        self._extra.shutdown()
        with self._turns:
            self._try(self.runs.write)
            self._try(self._leadership.resign)

    def turn(self) -> None:
        """Look once and do what is due. Blocks for seconds while a server is away; that is logged, not raised."""
        with self._turns:
            if self._try(self._flow.follow):
                self._declared = False
            if not self._lead():
                return
            self._check_clock()
            self._look()
            self._try(self.runs.rebase)
            self._try(self._declare)
            for task in list((self._known or {}).values()):
                self._settle_alone(task)
            self._forget_gone()
            self._try(self._collect)
            self._try(self._run_asked)
            self._try(self.runs.write)

    def states(self) -> dict[str, State]:
        """task id -> state, of all tasks that are running or paused."""
        known = self._known or {}
        return {known[p].task_id: s for p, s in dict(self._states).items() if s != "init" and p in known}

    def edges(self) -> dict[str, dict[str, str]]:
        """edge -> its task, for the heartbeat; of several tasks of an edge one that runs.

        Told are `task`, its `state` (disabled and expired told apart from init), `why` it is not as wished, how its
        `last` run ended, and with which `error`.
        """
        edges = self._flow.current.edges
        told: dict[str, dict[str, str]] = {}
        for task in list((self._known or {}).values()):
            edge = str(task.arguments.get("edge", task.task_id))
            if edge in edges and (edge not in told or told[edge]["state"] != "running"):
                told[edge] = self._told(task)
        return told

    def _told(self, task: Task) -> dict[str, str]:
        record = self.runs.of(task.pid)
        state: str = self._states.get(task.pid, "init")
        if state == "init" and not task.enabled:
            state = "disabled"
        elif state == "init" and record.why == NO_FURTHER_RUN:
            state = "expired"
        last = record.history[-1] if record.history else None
        ending = {"last": last.state, "error": last.error} if last else {"last": "", "error": ""}
        return {"task": task.task_id, "state": state, "why": record.why, **ending}

    def next_runs(self) -> dict[str, datetime]:
        """task id -> when it is due next, in the scheduler's zone; of the tasks that are running."""
        home, known = self._home(), self._known or {}
        return {known[p].task_id: t.astimezone(home) for p, t in self._board.next_runs().items() if p in known}

    def now_text(self) -> str:
        """The time as it stands in documents."""
        return datetime.fromtimestamp(self._clock(), self._home()).strftime("%Y-%m-%d %H:%M:%S")

    def _home(self) -> tzinfo:
        return zone(self._flow.current.scheduler.timezone)

    # -- leading

    def _lead(self) -> bool:
        try:
            held = self._leadership.keep()
        except DataflowError as error:
            self._reach.say("lease", f"it cannot be kept: {error}")
            return self._leadership.leads
        self.held_by = "" if held is None else held.nonce
        self._reach.say("lease", self.held_by and f"another scheduler leads: {self.held_by}")
        if held is not None:
            self._stand_by()
        return held is None

    def _stand_by(self) -> None:
        """Schedule nothing, but know the tasks, so as to take over even if MongoDB is away then."""
        self._board.keep_only(set())
        self._states, self._hindered = {}, {}
        self._declared = False
        self.runs.forget()
        self._look()

    def _check_clock(self) -> None:
        """After the clock was set, look anew when everything is due."""
        offset = self._clock() - time.monotonic()
        step, self._offset = offset - self._offset, offset
        if abs(step) > CLOCK_STEP_S:
            log.warning("the clock was set by %.0f s: all schedules are looked at anew", step)
            self._board.keep_only(set())

    # -- documents

    def _look(self) -> None:
        """Read the documents. If they cannot be read, what is known stays."""
        try:
            found = tasks_of(self._tasks.read())
            if self._leadership.leads:
                self._jobs.types = self._tasks.types()
                self.runs.read()
        except DataflowError as error:
            self._reach.lost(str(error))
            return
        self._reach.found()
        self._known = found

    def _declare(self) -> None:
        """Bring the flow's own schedules into the documents, once per term and per change of the flow."""
        if not self._declared and not self._reach.trouble:
            declare(self._flow.current, self._tasks, self.runs, self.now_text())
            self._declared = True
            self._look()

    # -- states

    def _settle_alone(self, task: Task) -> None:
        """Settle one task. Whatever its document does to us, it does to this task alone: the turn goes on."""
        try:
            self._settle(task)
        except Exception as error:
            why = mask_urls(f"an error that nobody expected, look at its document: {type(error).__name__}: {error}")
            if self._hindered.get(task.pid) != why:
                log.exception("task %s: an error that nobody expected", task.pid)
            self._hindered[task.pid] = why
            self.runs.change(task.pid, lambda record: replace(record, why=why))

    def _settle(self, task: Task) -> None:
        """Bring one task to the state that it should have, and write down which it has."""
        before = self._states.get(task.pid) or state_of(task.said)
        decision = decide(before, task.wish, task.enabled and not task.ambiguous)
        state, hindrance = self._place(task, decision.state)
        self._states[task.pid] = state
        why = mask_urls(hindrance or decision.why or task.remark)
        self._note(task, state, why)
        self._tell(task, state)
        if state != before:
            self._changes.note(task.task_id, before, state, task.wish, why)
        for rival in task.rivals:
            self._tell(rival, "init")
        if hindrance and hindrance != NO_FURTHER_RUN:
            self._hindered[task.pid] = why
        else:
            self._hindered.pop(task.pid, None)

    def _tell(self, task: Task, state: State) -> None:
        """Write into a document what its task is."""
        if task.said != state and not self._reach.trouble:
            self._try(lambda: self._tasks.set(task.key, running_status=state, update_time=self.now_text()))

    def _note(self, task: Task, state: State, why: str) -> None:
        due = self._board.next_run(task.pid) if state == "running" else None
        next_run = 0 if due is None else round(due.timestamp() * 1000)
        if why != self.runs.of(task.pid).why:
            self._reach.say(task.pid, why)
        self.runs.change(task.pid, lambda record: replace(record, why=why, next_run=next_run))

    def _place(self, task: Task, state: State) -> tuple[State, str]:
        """Put a task on the board. Returns the state that it is in now, and what hinders another one."""
        if state == "init":
            return self._board.move(task.pid, "init"), ""
        try:
            return self._timed(task, state)
        except UserError as error:
            why = str(error)
        if self._board.timing(task.pid) is None:
            return "init", why
        return self._board.move(task.pid, state), f"it goes on as before: {why}"

    def _timed(self, task: Task, state: State) -> tuple[State, str]:
        """Put a task on the board that is to be running or paused. Raises UserError, and the board is as before."""
        self._jobs.find(task.job_name).check(task.arguments)
        if self._board.timing(task.pid) == task.timing:
            return self._board.move(task.pid, state), ""
        trigger = task.trigger(self._flow.current.scheduler.timezone)
        due = trigger.get_next_fire_time(None, datetime.fromtimestamp(self._clock(), UTC))
        due_ms = None if due is None else round(due.timestamp() * 1000)
        taken_over = task.pid not in self._states and state_of(task.said) == state == "running"
        first = rules.first_tick(self.runs.of(task.pid), due_ms, self.runs.now_ms(), taken_over=taken_over)
        if first is None:
            return self._board.move(task.pid, "init"), NO_FURTHER_RUN
        self._board.put(task.pid, trigger, task.timing, state, first)
        return state, ""

    def _forget_gone(self) -> None:
        """Take tasks off the board whose document is gone."""
        known = set(self._known or {})
        self._board.keep_only(known)
        for pid in self._hindered.keys() - known:
            del self._hindered[pid]
        for pid in self._states.keys() - known:
            state = self._states.pop(pid)
            if state != "init":
                task_id = pid.removeprefix(f"{self._tasks.machine}.")
                self._changes.note(task_id, state, "init", "", "its document is gone")

    # -- runs

    def _fire(self, pid: str, tick: int) -> None:
        """Called by the board, in a thread."""
        task = (self._known or {}).get(pid)
        if task is not None and task.enabled and not task.ambiguous and task.wish == "running":
            self.runs.begin(task, tick)

    def _collect(self) -> None:
        for pid in self.runs.all():
            self.runs.collect(pid, (self._known or {}).get(pid), again=self._states.get(pid) == "running")

    def _run_asked(self) -> None:
        """Begin the runs that someone asks for, whatever state their tasks are in."""
        for pid, asked in ({} if self._reach.trouble else self._tasks.asked()).items():
            task, record = (self._known or {}).get(pid), self.runs.of(pid)
            if task is not None and record.under_way:
                continue
            self._tasks.answered(pid, asked)
            if task is not None and asked > record.due:
                self._extra.submit(self._begin_asked, task, asked)

    def _begin_asked(self, task: Task, asked: int) -> None:
        try:
            self.runs.begin(task, asked)
        except Exception:
            log.exception("task %s: an error that nobody expected", task.pid)

    def _try(self, step: Callable[[], object]) -> object:
        """Do a step that may be put off: what is away is told once, and tried again in the next turn."""
        try:
            return step()
        except DataflowError as error:
            self._reach.say("turn", str(error))
            return None


def _told_of_some(hindered: Mapping[str, str]) -> str:
    """Which tasks cannot be followed, and why; of many, the first few. "" for none."""
    some = [f"task {pid}: {_cut(why)}" for pid, why in sorted(hindered.items())[:SHOWN]]
    more = len(hindered) - len(some)
    return "; ".join([*some, *([f"and {more} more, see `dataflow task ls`"] if more else [])])


def _cut(why: str) -> str:
    return why if len(why) <= WHY_CHARACTERS else f"{why[: WHY_CHARACTERS - 3]}..."
