"""The jobs of APScheduler, brought in line with what tasks should be. It keeps time and nothing else: jobs live in
memory, and a tick only calls `fire`.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any, Final

from apscheduler.executors.base import BaseExecutor
from apscheduler.jobstores.base import JobLookupError
from apscheduler.schedulers.background import BackgroundScheduler

from dataflow.schedule import Trigger
from scheduler.machine import State
from scheduler.record import GRACE_MS

log = logging.getLogger("dataflow.scheduler")

Fire = Callable[[str, int], None]
"""Called in a thread with the task's pid and the tick (ms since 1970)."""

THREADS: Final = 16


class Board:
    """The schedule of one process. Used by one thread at a time, but for `states` and `next_runs`.

    Args:
        fire: called for each tick; a tick of a task whose last call has not returned is left out.
    """

    def __init__(self, fire: Fire) -> None:
        self._timings: dict[str, str] = {}
        self._scheduler = BackgroundScheduler(
            timezone=UTC,
            executors={"default": _Ticks(fire)},
            job_defaults={"misfire_grace_time": GRACE_MS // 1000, "coalesce": True, "max_instances": 1},
        )

    def start(self) -> None:
        """Begin to keep time."""
        self._scheduler.start()

    def stop(self) -> None:
        """End, and wait for the ticks that are being fired. Safe to repeat."""
        if self._scheduler.running:
            self._scheduler.pause()  # else it would hand ticks to threads that are gone
            self._scheduler.shutdown(wait=True)

    def timing(self, pid: str) -> str | None:
        """By which timing a task is on the board; None if it is not there."""
        return None if self._scheduler.get_job(pid) is None else self._timings.get(pid)

    def put(self, pid: str, trigger: Trigger, timing: str, state: State, first: int) -> None:
        """Put a task on the board, or on another schedule.

        Args:
            trigger, timing: when it is due, and a text by which the schedule is known again.
            state: running or paused.
            first: the tick to begin with (ms since 1970).
        """
        self._timings[pid] = timing
        begin = datetime.fromtimestamp(first / 1000, UTC) if state == "running" else None
        self._scheduler.add_job(_never, trigger, id=pid, name=pid, replace_existing=True, next_run_time=begin)

    def move(self, pid: str, state: State) -> State:
        """Pause, resume or remove a task. Returns what it is now: init if no tick is to come any more."""
        if state == "init":
            self.remove(pid)
        elif state != self._state(pid):
            (self._scheduler.pause_job if state == "paused" else self._scheduler.resume_job)(pid)
        return self._state(pid)

    def remove(self, pid: str) -> None:
        """Take a task off the board."""
        self._timings.pop(pid, None)
        try:
            self._scheduler.remove_job(pid)
        except JobLookupError:
            return

    def keep_only(self, pids: set[str]) -> None:
        """Take all others off the board."""
        for pid in set(self._timings) - pids:
            self.remove(pid)

    def states(self) -> Mapping[str, State]:
        """What each task on the board is."""
        return {job.id: "paused" if job.next_run_time is None else "running" for job in self._scheduler.get_jobs()}

    def next_runs(self) -> Mapping[str, datetime]:
        """When the tasks that are running are due next."""
        return {job.id: job.next_run_time for job in self._scheduler.get_jobs() if job.next_run_time is not None}

    def next_run(self, pid: str) -> datetime | None:
        """When a task is due next; None if it is not running."""
        job = self._scheduler.get_job(pid)
        due: datetime | None = None if job is None else job.next_run_time
        return due

    def _state(self, pid: str) -> State:
        job = self._scheduler.get_job(pid)
        if job is None:
            return "init"
        return "paused" if job.next_run_time is None else "running"


class _Ticks(BaseExecutor):  # type: ignore[misc]  # APScheduler has no types
    """Calls `fire` with the time for which a tick was meant; APScheduler's own executors do not tell it."""

    def __init__(self, fire: Fire) -> None:
        super().__init__()
        self._fire = fire
        self._pool = ThreadPoolExecutor(THREADS, thread_name_prefix="tick")

    def shutdown(self, wait: bool = True) -> None:
        """Called by the scheduler when it ends."""
        self._pool.shutdown(wait)

    def _do_submit_job(self, job: Any, run_times: list[datetime]) -> None:
        late_s = (datetime.now(UTC) - run_times[-1]).total_seconds()
        tick = round(run_times[-1].timestamp() * 1000)
        self._pool.submit(self._run, job.id, tick, late_s)

    def _run(self, pid: str, tick: int, late_s: float) -> None:
        try:
            if late_s <= GRACE_MS / 1000:
                self._fire(pid, tick)
            else:
                log.warning("task %s: a tick is %.0f s late and left out", pid, late_s)
        except BaseException as error:
            self._run_job_error(pid, error, error.__traceback__)
            raise
        self._run_job_success(pid, [])


def _never() -> None:
    """APScheduler wants a function; ticks go another way."""
    raise AssertionError("ticks are fired by _Ticks")
