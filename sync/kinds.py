"""The kinds of edges: one entry, one sink."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from dataflow.flow.spec import Edge, Flow
from sync.servers import Servers
from sync.sink import Sink
from sync.sinks.clickhouse.embedded import EmbeddedBackend
from sync.sinks.clickhouse.sink import ClickHouseSink
from sync.sinks.stream import StreamSink

MakeSink = Callable[[Flow, Edge, Servers], Sink]
"""Builds the sink of an edge. Connects to nothing. Raises NotRunning, TargetRefused."""


def _stream(flow: Flow, edge: Edge, servers: Servers) -> Sink:
    """All targets of one edge lie on one server: a batch is placed by one script, all of it or nothing."""
    return StreamSink(flow, edge, servers.redis(flow.streams[edge.target_streams[0]].on))


def _clickhouse(flow: Flow, edge: Edge, servers: Servers) -> Sink:
    backend = EmbeddedBackend(servers.warehouse(edge.connection or ""))
    return ClickHouseSink(edge, flow.streams[edge.source].schema, backend)


KINDS: Final[Mapping[str, MakeSink]] = {"s2s": _stream, "s2ch": _clickhouse}
"""Kind of edge -> how its sink is made."""


def make_sink(flow: Flow, edge: Edge, servers: Servers) -> Sink:
    """The sink of an edge; see MakeSink."""
    return KINDS[edge.kind](flow, edge, servers)
