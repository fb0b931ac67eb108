"""The seam between the loop and what does the work. One file per kind of handler in `workers/handlers/`."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Protocol

from dataflow.errors import UserError
from workers.pulse import Pulse
from workers.task import Results, Task


class HandlerUnusable(UserError):
    """The handler cannot be used as the flow file names it; nothing was read."""


class Pace:
    """Tells a handler when to stop for breath, and tells the parent process that it is alive.

    Results are written at least every `settle_every_s`, so a slow handler does not hold back what is done.
    """

    def __init__(self, pulse: Pulse, stopping: Callable[[], bool], settle_every_s: float = 0.25) -> None:
        self.pulse = pulse
        self._stopping = stopping
        self._settle_every_s = settle_every_s
        self._until = 0.0

    def start(self) -> None:
        """A batch begins."""
        self._until = time.monotonic() + self._settle_every_s

    def over(self, begun: int) -> bool:
        """Whether to begin no further message of this batch, after `begun` of them."""
        return self._stopping() or (begun > 0 and time.monotonic() > self._until)


class Handler(Protocol):
    """Does the work of one worker process. Called from one thread."""

    def handle(self, tasks: Sequence[Task], pace: Pace) -> Results:
        """Run the tasks in order until `pace.over()`, each call between the pulse's `begin` and `end`.

        Never raises for what a message does; may never return.
        """

    def close(self) -> None:
        """Called once, when the process stops in good order. May raise."""
