"""Notices a Celery worker that has stopped to take messages, as happens after some reconnects to its broker."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Final

from celery.signals import task_postrun, task_prerun

PATIENCE_S: Final = 90.0
"""Longer than any pause of Celery between two attempts to reach its broker."""


class Watchdog:
    """Compares what waits in the queue with what the worker does. Thread-safe.

    Args:
        queued: how many messages wait; raises what it likes while the broker is away.
        concurrency: tasks that the worker runs at the same time.
    """

    def __init__(self, queued: Callable[[], int], concurrency: int) -> None:
        self._queued = queued
        self._concurrency = concurrency
        self._lock = threading.Lock()
        self._running = 0
        self._moved = True
        self._since: float | None = None

    def listen(self) -> None:
        """Learn of every task that begins or ends in this process."""
        task_prerun.connect(self._begun, weak=False)
        task_postrun.connect(self._ended, weak=False)

    def stuck(self, now_s: float) -> bool:
        """Whether messages have waited for PATIENCE_S though the worker was free and nothing moved.

        Call it every few seconds. Raises what `queued` raises; the wait begins anew then.
        """
        since, self._since = self._since, None
        waits = self._queued() > 0
        with self._lock:
            moved, self._moved = self._moved, False
            free = self._running < self._concurrency
        if not waits or moved or not free:
            return False
        self._since = now_s if since is None else since
        return now_s - self._since >= PATIENCE_S

    def _begun(self, **_: object) -> None:
        with self._lock:
            self._running += 1
            self._moved = True

    def _ended(self, **_: object) -> None:
        with self._lock:
            self._running -= 1
            self._moved = True
