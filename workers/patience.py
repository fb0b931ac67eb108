"""Waiting for what passes: a server that is away, a stream that is full, a group that someone must mend."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

from dataflow.errors import DataflowError, NotDeclared, OutcomeUnknown, ServerAway, ServerFull, StreamFull

T = TypeVar("T")

PASSING = (ServerAway, OutcomeUnknown, StreamFull, ServerFull, NotDeclared)
"""Errors that pass, or that someone mends while we wait."""
FIRST_WAIT_S = 0.02
LONGEST_WAIT_S = 1.0
SLICE_S = 0.1
STANDS_STILL_S = 1.0
"""A server that could not be asked within this time is not asked again once the process was told to stop."""


class Patience:
    """Repeats steps until they succeed.

    Args:
        stopping: whether the process was told to stop; then a step that cannot succeed is given up.
        trouble: told of every error that makes us wait, and of None when it has passed.
    """

    def __init__(self, stopping: Callable[[], bool], trouble: Callable[[DataflowError | None], None]) -> None:
        self.stopping, self._trouble = stopping, trouble
        self._stands_still = False

    @property
    def given_up(self) -> bool:
        """Whether the process was told to stop and a server stands still: no step of its end could succeed.

        Nothing is lost: what is in hand is handed back by the parent, or taken over after its lease.
        """
        return self._stands_still and self.stopping()

    def until_done(self, step: Callable[[], T], *, default: T) -> T:
        """The step's answer; `default` if the process was told to stop before the step succeeded.

        Blocks as long as the step fails in a way that passes. Any other error is raised.
        """
        wait_s, waiting = FIRST_WAIT_S, False
        while not self.given_up:
            try:
                answer = self._timed(step)
            except PASSING as error:
                self._trouble(error)
                waiting = True
            else:
                if waiting:
                    self._trouble(None)
                return answer
            if self.stopping():
                return default
            self._rest(wait_s)
            wait_s = min(wait_s * 2, LONGEST_WAIT_S)
        return default

    def few_times(self, step: Callable[[], T], *, tries: int, default: T) -> T:
        """The step's answer; `default` after so many failures. For the last steps of a process."""
        for left in range(tries - 1, -1, -1):
            if self.given_up:
                break
            try:
                return self._timed(step)
            except PASSING as error:
                self._trouble(error)
            if left:
                time.sleep(FIRST_WAIT_S)
        return default

    def _timed(self, step: Callable[[], T]) -> T:
        began = time.monotonic()
        try:
            answer = step()
        except (ServerAway, OutcomeUnknown):
            self._stands_still = time.monotonic() - began >= STANDS_STILL_S
            raise
        self._stands_still = False
        return answer

    def _rest(self, wait_s: float) -> None:
        end = time.monotonic() + wait_s
        while not self.stopping() and (left := end - time.monotonic()) > 0:
            time.sleep(min(left, SLICE_S))
