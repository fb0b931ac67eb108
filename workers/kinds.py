"""Every kind of handler by the scheme of its name in the flow file; a name without one is Python: "module:name"."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from dataflow.flow.spec import Worker
from workers.handler import Handler, HandlerUnusable
from workers.handlers import python

KINDS: Mapping[str, Callable[[Worker, Path], Handler]] = {
    "python": python.load,
}


def load(worker: Worker, folder: Path) -> Handler:
    """Load and set up a worker's handler. May take long; called once per process.

    Raises:
        HandlerUnusable: the flow file names it wrongly, or its signature does not fit.
        Exception: whatever its `setup` raises.
    """
    scheme, separator, _ = worker.handler.partition("://")
    kind = scheme if separator else "python"
    if kind not in KINDS:
        raise HandlerUnusable(f"handler {worker.handler!r}: there is no kind {kind!r}; there are {', '.join(KINDS)}")
    return KINDS[kind](worker, folder)
