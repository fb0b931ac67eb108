"""Every kind of handler by the scheme of its name in the flow file; a name without one is Python: "module:name"."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from dataflow.flow.spec import Worker
from workers.handler import Handler
from workers.handlers import python

KINDS: Mapping[str, Callable[[Worker, Path], Handler]] = {
    "python": python.load,
}


def load(worker: Worker, folder: Path) -> Handler:
    """Load and set up a worker's handler; see the kind's own `load` for what is raised."""
    scheme, separator, _ = worker.handler.partition("://")
    return KINDS[scheme if separator else "python"](worker, folder)
