"""A step that is due again and again."""

from __future__ import annotations

import logging
from collections.abc import Callable

from dataflow.errors import DataflowError

log = logging.getLogger("dataflow.worker")

AGAIN_S = 0.5
"""A step that has failed is tried again so soon."""


class Every:
    """Runs a step at most every so many seconds; an error of the server is logged once and does no harm.

    Args:
        seconds: asked before each run, as it may change.
    """

    def __init__(self, seconds: Callable[[], float], step: Callable[[], None]) -> None:
        self._seconds, self._step = seconds, step
        self._next = 0.0
        self._said = ""

    def run(self, now: float) -> bool:
        """Run the step if it is due at `now` (monotonic seconds). False: it failed."""
        if now < self._next:
            return True
        self._next = now + self._seconds()
        try:
            self._step()
            self._said = ""
            return True
        except DataflowError as error:
            self._next = min(self._next, now + AGAIN_S)
            if str(error) != self._said:
                log.warning("%s", error)
                self._said = str(error)
            return False
