"""The kinds of edges: one entry, one sink."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from dataflow.clickhouse.address import ServerAddress
from dataflow.flow.spec import Edge, Flow
from dataflow.store.keys import Keys
from sync.claim import SourceClaim
from sync.servers import Servers
from sync.sink import Sink
from sync.sinks.clickhouse.backend import Backend
from sync.sinks.clickhouse.embedded import EmbeddedBackend
from sync.sinks.clickhouse.server import ServerBackend
from sync.sinks.clickhouse.sink import ClickHouseSink
from sync.sinks.mongo.sink import MongoSink
from sync.sinks.stream import StreamSink

MakeSink = Callable[[Flow, Edge, Servers], Sink]
"""Builds the sink of an edge. Connects to nothing. Raises NotRunning, TargetRefused."""


def _stream(flow: Flow, edge: Edge, servers: Servers) -> Sink:
    """All targets of one edge lie on one server: a batch is placed by one script, all of it or nothing."""
    return StreamSink(flow, edge, servers.redis(flow.streams[edge.target_streams[0]].on))


def _clickhouse(flow: Flow, edge: Edge, servers: Servers) -> Sink:
    schema = flow.streams[edge.source].schema
    return ClickHouseSink(edge, schema, _backend(flow, edge, servers))


def _backend(flow: Flow, edge: Edge, servers: Servers) -> Backend:
    warehouse = servers.warehouse(edge.connection or "")
    if isinstance(warehouse, ServerAddress):
        source = servers.redis(flow.streams[edge.source].on)
        return ServerBackend(warehouse, SourceClaim(source, Keys(flow.name), edge.name))
    return EmbeddedBackend(warehouse)


def _mongo(flow: Flow, edge: Edge, servers: Servers) -> Sink:
    source = flow.streams[edge.source]
    claim = SourceClaim(servers.redis(source.on), Keys(flow.name), edge.name)
    return MongoSink(edge, source.schema, servers.mongo(edge.connection or ""), claim)


KINDS: Final[Mapping[str, MakeSink]] = {"s2s": _stream, "s2ch": _clickhouse, "s2mongo": _mongo}
"""Kind of edge -> how its sink is made."""


def make_sink(flow: Flow, edge: Edge, servers: Servers) -> Sink:
    """The sink of an edge; see MakeSink."""
    return KINDS[edge.kind](flow, edge, servers)
