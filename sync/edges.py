"""Running an edge by its name: the plain function behind Celery, the command line and the continuous loops."""

from __future__ import annotations

import logging
from dataclasses import replace
from functools import partial, reduce
from operator import add
from typing import Protocol

from dataflow.errors import DataflowError, UnknownName
from dataflow.flow.spec import Edge, Flow
from dataflow.store.edgeruns import note_edge_run
from dataflow.store.keys import Keys
from dataflow.store.lane import Waiting
from sync.intake.collection import OrderedCollection
from sync.intake.puller import Puller
from sync.kinds import make_sink
from sync.run import GOOD, TROUBLE, Run, state_of
from sync.runner import Runner, Stop, never
from sync.servers import Servers, home
from sync.sink import Mode
from sync.source import LANES, LaneName, StreamSource

log = logging.getLogger("dataflow.sync")


class Mover(Protocol):
    """What runs one lane of an edge. Used by one thread at a time."""

    @property
    def mode(self) -> Mode | None:
        """How a repeated batch is known again; None before that is known."""

    def waiting(self, count: int) -> Waiting:
        """What there is to do, counted up to `count`; raises what `sync.run.TROUBLE` names."""

    def run(self, max_batches: int | None = None, stop: Stop = never) -> Run:
        """Move batches; blocks, and never raises for what can go wrong with servers and data."""

    def leave(self, *, release: bool = True) -> bool:
        """Let go of the lease and the servers; whether they answered."""


def lanes_of(edge: Edge) -> tuple[LaneName, ...]:
    """The lanes of an edge. What reads no stream has nothing that comes back to it."""
    return LANES if edge.source else ("main",)


def edge_of(flow: Flow, name: str) -> Edge:
    """The edge of that name. Raises UnknownName."""
    if name not in flow.edges:
        known = ", ".join(flow.edges) or "none"
        raise UnknownName(f"flow {flow.name!r} has no edge {name!r} (it has: {known})")
    return flow.edges[name]


def source_of(flow: Flow, edge: Edge, servers: Servers, lane: LaneName) -> StreamSource:
    """One lane of an edge. Does not connect. Raises NotRunning."""
    return StreamSource(flow, edge, servers.redis(flow.streams[edge.source].on), lane, servers.redis(home(flow)))


def runner_of(flow: Flow, edge: Edge, servers: Servers, lane: LaneName) -> Mover:
    """What runs one lane of an edge. Does not connect. Raises NotRunning, UserError."""
    if edge.kind == "mongo2s":
        collection = OrderedCollection(edge, servers.mongo(edge.connection or ""))
        return Puller(flow, edge, servers.redis(flow.streams[edge.anchor].on), collection, servers.redis(home(flow)))
    return Runner(edge, source_of(flow, edge, servers, lane), partial(make_sink, flow, edge, servers))


def run_edge(
    flow: Flow,
    name: str,
    servers: Servers,
    *,
    max_batches: int | None = None,
    batch: int | None = None,
    stop: Stop = never,
) -> Run:
    """Run an edge now: its stream, then what came back to it. Blocks; lets go of the edge before it returns.

    Args:
        max_batches: most batches of each of the two; None: until nothing is left.
        batch: most messages of a batch, where the edge itself allows no fewer.
        stop: asked between batches.

    Returns what was done; what went wrong with servers and data stands in `state` and `error`. Raises UnknownName.
    """
    edge = edge_of(flow, name)
    edge = edge if batch is None else replace(edge, batch=min(edge.batch, batch))
    run = reduce(add, [_run_lane(flow, edge, servers, lane, max_batches, stop) for lane in lanes_of(edge)])
    note(flow, edge, servers, run)
    return run


def note(flow: Flow, edge: Edge, servers: Servers, run: Run) -> bool:
    """Note for those who look how a run has ended; one that had to leave the edge to another runner says nothing of it.

    Returns false if it could not be noted; the run is what it is.
    """
    if run.state == "held":
        return True
    trouble = run.error or ("" if run.state in GOOD else run.state)
    try:
        note_edge_run(servers.redis(home(flow)), Keys(flow.name), edge.name, run.state, trouble, run.mode)
    except TROUBLE as error:
        log.debug("how the run of edge %s ended was not noted: %s", edge.name, error)
        return False
    return True


def _run_lane(flow: Flow, edge: Edge, servers: Servers, lane: LaneName, max_batches: int | None, stop: Stop) -> Run:
    try:
        runner = runner_of(flow, edge, servers, lane)
    except DataflowError as error:
        return Run(state_of(error), error=str(error))
    try:
        return runner.run(max_batches, stop)
    finally:
        runner.leave()
