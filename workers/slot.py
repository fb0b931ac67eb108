"""A place for one child of a worker: who is in it, and what its predecessors left."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Sequence
from dataclasses import dataclass

from dataflow.holder import new_nonce
from dataflow.store.hop import Hop
from dataflow.store.outcomes import LANES, Entry
from workers import child, restart
from workers.child import Job
from workers.pulse import Pulse, Stage

STACKS_S = 0.3
"""How long a child that hangs has to write its stacks down before it is killed."""

INTERRUPTED = (-signal.SIGTERM, -signal.SIGINT)
"""Ends that are no message's fault: someone, or a service manager that tells every process, has ended the child."""


class Slot:
    """Starts, watches and ends one child after the other. Not thread-safe; nothing here waits for a child.

    Public state: `job` and `hop` of the present or last child, its `consumer`, and `start_at` (monotonic seconds) when
    the next may start.
    """

    def __init__(self) -> None:
        self.job: Job | None = None
        self.hop: Hop | None = None
        self.pid = 0
        self.consumer = ""
        self.start_at = 0.0
        self.pause_s = 0.0
        self.stopping = False
        self._killed_by_us = False
        self._kill_at = 0.0
        self._pulse = Pulse(1)
        self._left_by: list[str] = []

    def start(self, job: Job, hop: Hop) -> None:
        """Start a child, which takes what its predecessors held."""
        if self.job is not None and _group(self.job) != _group(job):
            self._left_by.clear()  # it would look in the wrong stream; others take over after the lease
        self._pulse.close()
        self._pulse = Pulse(job.worker.threads)
        self.job, self.hop = job, hop
        self.consumer = new_nonce()
        self.stopping = self._killed_by_us = False
        self._kill_at = 0.0
        self.pid = child.fork(job, self.consumer, self._left_by, self._pulse)

    @property
    def ready(self) -> bool:
        """Whether the child has loaded its handler."""
        return bool(self.pid) and self._pulse.stage is not Stage.SETUP

    def ask_to_stop(self) -> None:
        """Let the child finish the message in hand; one that still sets up ends at once. Safe to repeat."""
        if self.pid and not self.stopping:
            self.stopping = True
            self._pulse.ask_to_stop()
            if self._pulse.stage is Stage.SETUP:
                os.kill(self.pid, signal.SIGTERM)

    def kill(self) -> None:
        """End the child at once, with everything that its handler has started."""
        self._killed_by_us = True
        self._kill_group()

    def end_if_hung(self, now: float) -> float:
        """Kill the child if a call of its handler runs for too long; it may write its stacks first.

        Returns the seconds that the call has lasted when this has just been found out, else 0.
        """
        if self._kill_at:
            if now >= self._kill_at:
                self._kill_group()
            return 0.0
        lasted_s = self._pulse.oldest_call_s()
        if self.job is None or lasted_s <= self.job.worker.timeout_s:
            return 0.0
        self._kill_at = now + STACKS_S
        os.kill(self.pid, child.SHOW_STACKS)
        return lasted_s

    def reap(self) -> int | None:
        """If the child has ended: its exit code, or minus the signal. What its handler had started ends too."""
        if os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
            return None
        self._kill_group()  # while its pid is still taken
        _, status = os.waitpid(self.pid, 0)
        self.pid = 0
        return os.waitstatus_to_exitcode(status)

    def ended(self, code: int) -> Ending:
        """What the end of the child means. To be called once, after `reap`."""
        stage = self._pulse.stage
        interrupted = self._killed_by_us or code in INTERRUPTED
        if interrupted or (self.stopping and code == child.EXIT_OK):
            self.start_at = self.pause_s = 0.0
            return Ending(begun=_entries(self._pulse.alone()) if interrupted else [])
        self._inherit_from(stage)
        self.pause_s = restart.pause_s(self.pause_s, stage)
        self.start_at = time.monotonic() + self.pause_s
        return Ending(crash=_reason(code, stage), unusable=stage is Stage.SETUP and code == child.EXIT_UNUSABLE)

    def _inherit_from(self, stage: Stage) -> None:
        if stage is Stage.PROVEN:
            self._left_by = [self.consumer]
        elif stage is Stage.READY:
            self._left_by.append(self.consumer)

    def _kill_group(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)


@dataclass(frozen=True, slots=True)
class Ending:
    """How a child ended.

    crash: why, if it ended by itself; what it held is suspect, and its successor takes it. Else it was ended, what it
    held can go back, and `begun` are attempts that shall not count.
    unusable: the handler cannot be used, so a successor would not do better.
    """

    crash: str = ""
    unusable: bool = False
    begun: Sequence[Entry] = ()


def _group(job: Job) -> tuple[str, str, str]:
    return job.flow.name, job.worker.source, job.redis_url


def _reason(code: int, stage: Stage) -> str:
    if stage is Stage.SETUP and code == child.EXIT_SETUP:
        return "setup of the handler failed"
    if code == child.EXIT_MEMORY:
        return "it ran out of memory"
    return restart.reason(code)


def _entries(mark: bytes) -> list[Entry]:
    lane, _, id_ = mark.partition(b"/")
    return [Entry(name, id_, []) for name in LANES if name.encode() == lane]
