"""Running an edge: a hint to the sync process. It may be lost or come twice; the edge itself is safe against both."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Any, Final

from celery import Celery

from dataflow.errors import ServerAway
from dataflow.flow.spec import Flow
from dataflow.hints import AWAY, TIMEOUT_S, HintSender
from dataflow.masking import mask_urls, masked
from scheduler.jobs.kind import BadJob
from scheduler.record import RESEND_MS, Outcome

log = logging.getLogger("dataflow.scheduler")

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
    """

    def __init__(self, url: str, queue: str) -> None:
        self._sender = HintSender(url, queue)
        self._results = Celery("results", backend=url)
        limits = {"socket_timeout": TIMEOUT_S, "socket_connect_timeout": TIMEOUT_S}
        self._results.conf.update({f"redis_{name}": value for name, value in limits.items()})

    def send(self, edge: str, tick: int, hint: str) -> None:
        """Ask for a run of an edge, by a message of this id. Raises ServerAway (it may have been sent)."""
        self._sender.send(edge, hint, expires_s=RESEND_MS / 1000, tick=tick, keep_result=True)

    def outcome(self, hint: str) -> Outcome | None:
        """How the run ended that a hint asked for; None while there is no telling. Raises ServerAway."""
        try:
            found = self._results.backend.get_task_meta(hint)
        except AWAY as error:
            raise ServerAway(f"the outcome of a run cannot be read: {mask_urls(str(error))}") from error
        return _outcome(found)


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
        except ServerAway as error:
            log.warning("%s", error)


def _outcome(found: Mapping[str, Any]) -> Outcome | None:
    """What Celery tells of a task, as an outcome."""
    status, result = found.get("status"), found.get("result")
    if status == "SUCCESS" and isinstance(result, Mapping):
        facts = {name: value for name, value in result.items() if name not in ("state", "error")}
        state, error = str(result.get("state")), str(result.get("error") or "")
        return Outcome(state, error or ("" if state in (*GOOD, HELD) else state), facts)
    if status == "SUCCESS":
        return Outcome("ok")
    if status == "FAILURE":
        return Outcome("error", str(result))
    return Outcome(EXPIRED, "the hint was not taken in time") if status == "REVOKED" else None
