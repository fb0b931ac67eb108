"""The jobs of APScheduler, brought in line with what tasks should be. It keeps time and nothing else: jobs live in
memory, and a tick only calls `fire`.
"""

from __future__ import annotations

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
        """End; ticks that are being fired go on to their end."""
        self._scheduler.shutdown(wait=True)

    def timing(self, pid: str) -> str | None:
        """By which timing a task is on the board; None if it is not there."""
        return None if self._scheduler.get_job(pid) is None else self._timings.get(pid)

    def put(self, pid: str, trigger: Trigger, timing: str, state: State, make_up: int | None = None) -> State:
        """Put a task on the board, or on another schedule. Returns what it is now: init if no tick is to come any more.

        Args:
            trigger, timing: when it is due, and a text by which the schedule is known again.
            state: running or paused.
            make_up: a tick of the past (ms since 1970) to begin with.
        """
        return self._add(pid, trigger, timing, state, make_up)

    def move(self, pid: str, state: State) -> State:
        """Pause, resume or remove a task that is on the board. Returns what it is now, as `put` does."""
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

    def _state(self, pid: str) -> State:
        job = self._scheduler.get_job(pid)
        if job is None:
            return "init"
        return "paused" if job.next_run_time is None else "running"

    def _add(self, pid: str, trigger: Trigger, timing: str, state: State, make_up: int | None) -> State:
        due = trigger.get_next_fire_time(None, datetime.now(UTC))
        first = due if make_up is None else datetime.fromtimestamp(make_up / 1000, UTC)
        if first is None:
            self.remove(pid)
            return "init"
        self._timings[pid] = timing
        self._scheduler.add_job(
            _never,
            trigger,
            id=pid,
            name=pid,
            replace_existing=True,
            next_run_time=first if state == "running" else None,
        )
        return state


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
        tick = round(run_times[-1].timestamp() * 1000)
        self._pool.submit(self._run, job.id, tick)

    def _run(self, pid: str, tick: int) -> None:
        try:
            self._fire(pid, tick)
        except BaseException as error:
            self._run_job_error(pid, error, error.__traceback__)
            raise
        self._run_job_success(pid, [])


def _never() -> None:
    """APScheduler wants a function; ticks go another way."""
    raise AssertionError("ticks are fired by _Ticks")
