"""Asking for runs of edges, and what became of them."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Final
from uuid import uuid4

from dataflow.errors import DataflowError, ServerAway
from dataflow.faults import show
from dataflow.hints import HintSender
from dataflow.store.runs import AskedRun, AskedRuns
from dataflow.web.answer import Refusal
from sync.api.choice import Wish

HINT_LIVES_S: Final = 300.0
"""A hint that no sync process took within this time is worth nothing."""
MOST_WAITING: Final = 1000
"""Hints that may wait for a sync process; further ones are refused."""
LOOK_EVERY_S: Final = 0.1


class Runs:
    """Asks for runs and looks for their ends. Thread-safe.

    Args:
        asked: gives the records of what was asked for.
        hints: gives what asks.
        waiters: requests that may wait for a result at the same time; further ones are answered at once.
    """

    def __init__(self, asked: Callable[[], AskedRuns], hints: Callable[[], HintSender], waiters: int) -> None:
        self._asked, self._hints = asked, hints
        self._slots = threading.BoundedSemaphore(waiters)

    def ask(self, wish: Wish) -> str:
        """Ask for a run. Returns its id, by which its result can be asked for.

        Raises Refusal 429: too many wait. ServerAway, OutcomeUnknown, ServerFull: it may run nevertheless, which does
        no harm, but nobody can ask for its result.
        """
        hints, asked = self._hints(), self._asked()
        if hints.waiting() >= MOST_WAITING:
            raise Refusal(429, f"{MOST_WAITING} runs wait already: is `dataflow sync` running? Ask again later")
        run = str(uuid4())
        asked.ask(run, wish.edge.name)
        bounds = wish.bounds
        try:
            hints.send(wish.edge.name, run, expires_s=HINT_LIVES_S, max_batches=bounds.max_batches, batch=bounds.batch)
        except ServerAway:
            _forget(asked, run)
            raise
        return run

    def look(self, run: str, wait_s: float) -> AskedRun:
        """A run that was asked for; waits up to `wait_s` for its end.

        Raises Refusal 404, ServerAway, OutcomeUnknown.
        """
        deadline = time.monotonic() + wait_s
        found = self._find(run)
        if over(found) or not self._slots.acquire(blocking=False):
            return found
        try:
            while not over(found) and time.monotonic() < deadline:
                time.sleep(min(LOOK_EVERY_S, max(0.0, deadline - time.monotonic())))
                found = self._find(run)
        finally:
            self._slots.release()
        return found

    def _find(self, run: str) -> AskedRun:
        found = self._asked().find(run)
        if found is None:
            raise Refusal(404, f"no run {show(run)!r} was asked for here, or it is forgotten, as all are after a day")
        return found


def over(run: AskedRun) -> bool:
    """Whether nothing more will come of it."""
    return run.outcome is not None or lost(run)


def lost(run: AskedRun) -> bool:
    """Whether nobody took it in time."""
    return not run.began and run.age_s > HINT_LIVES_S


def _forget(asked: AskedRuns, run: str) -> None:
    try:
        asked.forget(run)
    except DataflowError:
        return  # it is forgotten in a day
