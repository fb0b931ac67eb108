"""Whether every name in a flow stands for something, and for one thing. Pure functions of a Flow, like the rules."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from dataflow.flow.build import KINDS
from dataflow.flow.ends import ends, what_is
from dataflow.flow.findings import Finding, Where, did_you_mean, dotted, shown
from dataflow.flow.spec import ConnectionKind, EdgeKind, Flow

_SERVERS: Mapping[EdgeKind, ConnectionKind] = {"s2ch": "clickhouse", "s2mongo": "mongo", "mongo2s": "mongo"}
"""Kind of edge -> kind of the connection that it names."""


def streams_are_declared(flow: Flow) -> Iterator[Finding]:
    """F201: a name that stands for nothing where a stream should stand."""
    for end in ends(flow):
        if not what_is(flow, end.name):
            close = did_you_mean(end.name, flow.streams)
            yield end.finding("F201", ("streams",), name=shown(end.name), guess=close)


def tables_are_no_streams(flow: Flow) -> Iterator[Finding]:
    """F205, F207: a stream where `<connection>.<table>` should stand; the two look alike."""
    for edge in flow.edges.values():
        target = f"{edge.connection}.{edge.table}"
        if not edge.table or target not in flow.streams:
            continue
        if edge.kind == "mongo2s":
            yield Finding("F207", ("edges", edge.name, "from"), {"name": shown(edge.name), "stream": shown(target)})
        else:
            wanted = "a table" if edge.kind == "s2ch" else "a collection"
            values = {"name": shown(edge.name), "kind": edge.kind, "stream": shown(target), "wanted": wanted}
            yield Finding("F205", ("edges", edge.name, "to"), values)


def connections_are_declared(flow: Flow) -> Iterator[Finding]:
    """F202: a connection that the file does not have."""
    for name, _, path in _connections_named(flow):
        if name not in flow.connections:
            close = did_you_mean(name, flow.connections)
            values = {"where": dotted(path), "name": shown(name), "guess": close}
            yield Finding("F202", path, values, because=(("connections",),))


def connections_are_of_kind(flow: Flow) -> Iterator[Finding]:
    """F203: a connection of another kind than is needed."""
    for name, wanted, path in _connections_named(flow):
        known = flow.connections.get(name)
        if known and known.kind != wanted:
            values = {"where": dotted(path), "name": shown(name), "kind": known.kind, "wanted": wanted}
            because = tuple(("connections", name, kind) for kind in KINDS)
            yield Finding("F203", path, values, because=because)


def _connections_named(flow: Flow) -> Iterator[tuple[str, str, Where]]:
    """(name, kind that is needed, path) of every reference to a connection."""
    for stream in flow.streams.values():
        if stream.on:
            yield stream.on, "redis", ("streams", stream.name, "on")
    for edge in flow.edges.values():
        if edge.connection:
            yield edge.connection, _SERVERS[edge.kind], ("edges", edge.name, "from" if edge.kind == "mongo2s" else "to")
    if flow.scheduler.declared and flow.scheduler.tasks:
        yield flow.scheduler.tasks, "mongo", ("scheduler", "tasks")


def streams_have_a_home(flow: Flow) -> Iterator[Finding]:
    """F204: streams, but no Redis."""
    if any(not stream.on for stream in flow.streams.values()):
        because = tuple(("connections", name, "redis") for name in flow.connections)
        yield Finding("F204", ("connections",), because=because, harmless=True)


def tasks_have_a_home(flow: Flow) -> Iterator[Finding]:
    """F206: a schedule, but no MongoDB for its document."""
    scheduled = [edge.name for edge in flow.edges.values() if edge.task]
    if flow.scheduler.tasks is None and (scheduled or flow.scheduler.declared):
        at: Where = ("edges", scheduled[0], "task") if scheduled else ("scheduler",)
        because = tuple(("connections", name, "mongo") for name in flow.connections)
        yield Finding("F206", at, {"where": dotted(at)}, because=because, harmless=True)


def steps_differ(flow: Flow) -> Iterator[Finding]:
    """F406: a worker and an edge of one name."""
    for name in flow.edges:
        if name in flow.workers:
            yield Finding("F406", ("edges", name), {"name": shown(name)}, harmless=True)
