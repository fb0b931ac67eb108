"""The kinds of jobs by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from dataflow.connections import resolve
from dataflow.flow.shape import EDGE
from dataflow.flow.spec import Flow
from scheduler.jobs.edge import EdgeJob, Hints
from scheduler.jobs.function import FunctionJob, is_function
from scheduler.jobs.kind import BadJob, Job
from scheduler.jobs.request import RequestJob


class Jobs:
    """Finds the job that a task names. Thread-safe.

    Args:
        flow: gives the flow as it is now.
        hints: where hints go.
    """

    def __init__(self, flow: Callable[[], Flow], hints: Hints) -> None:
        self._flow = flow
        self._fixed: Mapping[str, Job] = {
            **{kind: EdgeJob(kind, flow, hints) for kind in EDGE.sections},
            "make_a_request": RequestJob(lambda: flow().scheduler.allow, lambda: _services(flow())),
        }
        self.types: Mapping[str, str] = {}
        """Registered jobs: name -> module:function. Replaced whole."""

    def find(self, name: str) -> Job:
        """The job of that name. Raises BadJob."""
        if name in self._fixed:
            return self._fixed[name]
        function = self.types.get(name, name)
        if is_function(function):
            return self.function(function)
        known = ", ".join([*self._fixed, *self.types])
        raise BadJob(f"there is no job {name!r}; there are: {known}, and functions as module:function")

    def function(self, name: str) -> FunctionJob:
        """The job that calls module:function."""
        return FunctionJob(name, lambda: self._flow().scheduler.modules)

    def is_fixed(self, name: str) -> bool:
        """Whether a name is taken by a kind of our own."""
        return name in self._fixed


def _services(flow: Flow) -> tuple[str, ...]:
    """Where the flow's own HTTP services answer."""
    found = resolve(flow)
    return found.hub_url, found.sync_url, found.scheduler_url
