"""Waiting for signals instead of being interrupted by them.

While `Signals` is entered, the signals that matter to `up` are held back and fetched one by one with `wait`. So a
Ctrl-C never lands in the middle of a step, and the end of a child wakes the loop at once. Enter it before any
thread is started: a thread that does not hold signals back would take them.
"""

from __future__ import annotations

import signal
from types import TracebackType
from typing import Self

STOP = frozenset({signal.SIGINT, signal.SIGTERM, signal.SIGHUP})
_HELD = STOP | {signal.SIGCHLD}


class Signals:
    """Holds signals back for the main thread; `stops` counts how often we were asked to stop."""

    def __init__(self) -> None:
        self.stops = 0
        self._before: set[signal.Signals | int] = set()

    def __enter__(self) -> Self:
        self._before = set(signal.pthread_sigmask(signal.SIG_BLOCK, _HELD))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        signal.pthread_sigmask(signal.SIG_SETMASK, self._before)

    def wait(self, timeout_s: float) -> None:
        """Wait for a signal, `timeout_s` seconds at most. Returns after the first one, of whatever kind."""
        found = signal.sigtimedwait(_HELD, max(0.0, timeout_s))
        if found is not None and found.si_signo in STOP:
            self.stops += 1
