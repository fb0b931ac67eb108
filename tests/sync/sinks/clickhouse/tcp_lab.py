"""An edge from a real Redis into a clickhouse-server, for tests in this process and in others."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any

from dataflow.clickhouse.address import ServerAddress
from dataflow.warehouse import connect
from sync.claim import Claim, SourceClaim
from sync.run import Run
from sync.runner import Runner
from sync.sinks.clickhouse.server import ServerBackend
from sync.sinks.clickhouse.sink import ClickHouseSink
from sync.source import StreamSource
from tests.sync.lab import Lab

FLOW = """
flow: water
connections:
  main: {redis: embedded}
  warehouse: {clickhouse: "clickhouse://127.0.0.1:1"}
streams:
  a.stream_in: {schema: {n: int}}
edges:
  archive: {kind: s2ch, from: a.stream_in, to: warehouse.%, create_table: true, batch: 10}
"""
RECEIVE_S = 2
GONE_S = 20.0


class TcpLab(Lab):
    """A flow with one edge into a table.

    Args:
        table: its name.
        ch_url: where runners find the server; tests look at the table at `direct_url`.
    """

    def __init__(self, url: str, ch_url: str, table: str, direct_url: str = "", **options: Any) -> None:
        super().__init__(url, FLOW.replace("%", table), **options)
        self.ch_url = ch_url
        self.table = table
        self.direct_url = direct_url or ch_url

    def make_sink(self, wrap: Callable[[Claim], Claim] = lambda claim: claim, gone_s: float = GONE_S) -> ClickHouseSink:
        claim = wrap(SourceClaim(self.redis, self.keys, self.edge.name))
        backend = ServerBackend(ServerAddress.read(self.ch_url), claim, receive_s=RECEIVE_S, gone_s=gone_s)
        return ClickHouseSink(self.edge, self.flow.streams[self.edge.source].schema, backend)

    def tcp_runner(self, **options: Any) -> Runner:
        return Runner(self.edge, StreamSource(self.flow, self.edge, self.redis), lambda: self.make_sink(**options))

    def run(self, max_batches: int | None = None, lane: Any = "main") -> Run:
        runner = self.tcp_runner()
        try:
            return runner.run(max_batches)
        finally:
            runner.leave()

    def stored(self) -> list[tuple[str, int]]:
        """(id, n) of all rows, in order."""
        rows = connect(self.direct_url).rows(f"SELECT _mid, n FROM {self.table} ORDER BY n, _mid")
        return [(row["_mid"], row["n"]) for row in rows]

    def all_once(self) -> None:
        """Every message that was filled in is a row, once, and nothing is left."""
        assert self.stored() == [(f"m{n}", n) for n in range(self.filled)]
        assert self.waiting() == 0


def labs(url: str, ch_url: str, table: str, direct_url: str = "") -> Iterator[TcpLab]:
    """One, closed in the end."""
    with closing(TcpLab(url, ch_url, table, direct_url)) as lab:
        yield lab
