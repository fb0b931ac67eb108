"""Where workers and edges name streams. What the rules look at."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from dataflow.flow.findings import Finding, Where, dotted
from dataflow.flow.spec import Edge, Flow, Stream, Worker


@dataclass(frozen=True, slots=True)
class End:
    """One place where a worker or an edge names a stream."""

    step: Worker | Edge
    way: Literal["from", "to"]
    name: str
    path: Where

    @property
    def kind(self) -> str:
        """worker, or the kind of the edge."""
        return "worker" if isinstance(self.step, Worker) else self.step.kind

    def finding(self, code: str, *because: Where, **values: object) -> Finding:
        """A finding about this place."""
        return Finding(code, self.path, {"where": dotted(self.path), **values}, because=because)


def ends(flow: Flow) -> Iterator[End]:
    """Every place that names a stream and could be read, in the order of the file."""
    for worker in flow.workers.values():
        at: Where = ("workers", worker.name)
        yield from _named(worker, "from", [(worker.source, (*at, "from"))])
        yield from _named(worker, "to", [(name, (*at, "to", i)) for i, name in enumerate(worker.targets)])
    for edge in flow.edges.values():
        yield from _named(edge, "from", [(edge.source, ("edges", edge.name, "from"))])
        yield from _named(edge, "to", list(_edge_targets(edge)))


def _named(step: Worker | Edge, way: Literal["from", "to"], names: list[tuple[str, Where]]) -> Iterator[End]:
    return (End(step, way, name, path) for name, path in names if name)


def _edge_targets(edge: Edge) -> Iterator[tuple[str, Where]]:
    at: Where = ("edges", edge.name)
    yield edge.to_stream or "", (*at, "to")
    if edge.route:
        for value, name in edge.route.cases.items():
            yield name, (*at, "route", "cases", value)
        yield edge.route.other or "", (*at, "route", "other")


def known_ends(flow: Flow) -> Iterator[tuple[End, Stream]]:
    """The places that name a declared stream, with it."""
    return ((end, flow.streams[end.name]) for end in ends(flow) if end.name in flow.streams)


def targets(flow: Flow) -> Iterator[tuple[End, Stream]]:
    """The places that name a declared stream to write to, with it."""
    return ((end, stream) for end, stream in known_ends(flow) if end.way == "to")


def leads_nowhere(end: End) -> bool:
    """Whether this is an edge from a stream to itself, which has a code of its own."""
    return end.kind == "s2s" and end.name == end.step.source


def what_is(flow: Flow, name: str) -> str:
    """What a name stands for in a flow; empty if for nothing."""
    head, dot, _ = name.partition(".")
    kinds = [
        ("a stream", name in flow.streams),
        ("the worker", name in flow.workers),
        ("the edge", name in flow.edges),
        ("the connection", name in flow.connections),
        ("the table", bool(dot) and head in flow.connections),
        ("the node", name == "hub"),
    ]
    return next((what for what, is_it in kinds if is_it), "")
