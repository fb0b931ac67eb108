"""Running an edge: a hint to the sync process. It may be lost or come twice; the edge itself is safe against both.

What the broker does not take, as it is full or away, is left in the flow's own Redis, where the sync process looks.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Any, Final

from celery import Celery

from dataflow.errors import DataflowError, ServerAway
from dataflow.flow.spec import Flow
from dataflow.hints import AWAY, TIMEOUT_S, HintSender
from dataflow.masking import mask_urls, masked
from dataflow.store.lefthints import LeftHints
from scheduler.jobs.kind import BadJob
from scheduler.record import RESEND_MS, Outcome

log = logging.getLogger("dataflow.scheduler")

HINT_LIVES_S: Final = RESEND_MS / 1000
"""A hint that nobody took within this time is worth nothing: another is sent."""
GOOD: Final = ("empty", "more", "stopped")
"""Ends of a run with which nothing is wrong."""
HELD: Final = "held"
"""Another runner is at work on the edge and moves its messages: this run moved none."""
EXPIRED: Final = "expired"
"""Nobody took the hint in time: this run has not been."""


class Hints:
    """Sends hints and looks for what became of them. Thread-safe. Connects when it is first used.

    Args:
        url: the broker, which holds the results, too.
        queue: the flow's queue.
        left: where hints are left that the broker does not take.
    """

    def __init__(self, url: str, queue: str, left: LeftHints) -> None:
        self._sender = HintSender(url, queue)
        self._left = left
        self._refused = False
        self._results = Celery("results", backend=url)
        limits = {"socket_timeout": TIMEOUT_S, "socket_connect_timeout": TIMEOUT_S}
        self._results.conf.update({f"redis_{name}": value for name, value in limits.items()})

    def send(self, edge: str, tick: int, hint: str) -> None:
        """Ask for a run of an edge, by a message of this id. Raises DataflowError (it may have been sent)."""
        try:
            self._sender.send(edge, hint, expires_s=HINT_LIVES_S, tick=tick, keep_result=True)
            self._say(refused="")
        except ServerAway as error:
            self._left.leave(edge, tick, hint, HINT_LIVES_S)
            self._say(refused=str(error))

    def outcome(self, hint: str) -> Outcome | None:
        """How the run ended that a hint asked for; None while there is no telling. Raises DataflowError."""
        left = self._left.end(hint)
        if left is not None:
            return _end_of_run(left)
        try:
            found = self._results.backend.get_task_meta(hint)
        except AWAY as error:
            raise ServerAway(f"the outcome of a run cannot be read: {mask_urls(str(error))}") from error
        return _outcome(found)

    def _say(self, *, refused: str) -> None:
        """Tell when hints begin to go the other way, and when they end to."""
        if refused and not self._refused:
            log.warning("%s. Until the broker takes hints they are left in the flow's own Redis", refused)
        elif self._refused and not refused:
            log.info("the broker takes hints again")
        self._refused = bool(refused)


class EdgeJob:
    """Jobs `s2s`, `s2ch` and so on: `task_kwargs` names the edge.

    Args:
        kind: the kind of edge, which is the name of the job.
        flow: gives the flow as it is now.
        hints: where hints go.
    """

    elsewhere = True

    def __init__(self, kind: str, flow: Callable[[], Flow], hints: Hints) -> None:
        self._kind = kind
        self._flow = flow
        self._hints = hints

    def check(self, kwargs: Mapping[str, Any]) -> None:
        """The edge must be one of the flow's, of this kind."""
        name, edges = kwargs.get("edge"), self._flow().edges
        if not isinstance(name, str) or name not in edges:
            known = ", ".join(edges) or "none"
            said = repr(masked(name)) if "edge" in kwargs else "nothing"
            raise BadJob(f"task_kwargs must name an edge of the flow ({{'edge': ...}}; it has: {known}), not {said}")
        if edges[name].kind != self._kind:
            raise BadJob(f"edge {name!r} is of kind {edges[name].kind}, not {self._kind}")

    def run(self, kwargs: Mapping[str, Any], tick: int, hint: str) -> None:
        """Send the hint; one that cannot be sent counts as lost. Raises BadJob."""
        self.check(kwargs)
        try:
            self._hints.send(kwargs["edge"], tick, hint)
        except DataflowError as error:
            log.warning("%s", error)


def _outcome(found: Mapping[str, Any]) -> Outcome | None:
    """What Celery tells of a task, as an outcome."""
    status, result = found.get("status"), found.get("result")
    if status == "SUCCESS" and isinstance(result, Mapping):
        return _end_of_run(result)
    if status == "SUCCESS":
        return Outcome("ok")
    if status == "FAILURE":
        return Outcome("error", str(result))
    return Outcome(EXPIRED, "the hint was not taken in time") if status == "REVOKED" else None


def _end_of_run(result: Mapping[str, Any]) -> Outcome:
    """What a run of an edge tells of itself, as an outcome."""
    facts = {name: value for name, value in result.items() if name not in ("state", "error")}
    state, error = str(result.get("state")), str(result.get("error") or "")
    return Outcome(state, error or ("" if state in (*GOOD, HELD) else state), facts)
