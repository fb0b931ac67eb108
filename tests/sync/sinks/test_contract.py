"""The sink contract on memory, on a real chDB in each mode that recognises batches, and on a clickhouse-server."""

from __future__ import annotations

import json
from collections import defaultdict
from datetime import UTC, datetime
from typing import Any

import pytest

from dataflow.clickhouse.address import ServerAddress
from dataflow.flow.spec import Field
from dataflow.testing.servers import ClickHouseServer
from sync.sink import Refusal, Row, Sink
from sync.sinks.clickhouse import ddl
from sync.sinks.clickhouse.embedded import EmbeddedBackend
from sync.sinks.clickhouse.server import ServerBackend
from sync.sinks.clickhouse.sink import ClickHouseSink
from sync.sinks.clickhouse.table import TableName
from sync.sinks.memory import MemorySink, MemoryTarget
from sync.warehouse.chdb import ChdbWarehouse
from tests.sync.sink_contract import CODEC, NOW_MS, SCHEMA, Harness, SinkContract, row
from tests.sync.sinks.edges import edge
from tests.sync.sinks.leases import Leases


class MemoryHarness:
    """A list."""

    def __init__(self) -> None:
        self._target = MemoryTarget()

    def sink(self) -> Sink:
        return MemorySink(self._target, self._refuse)

    def stored(self) -> dict[str, list[dict[str, Any]]]:
        found: defaultdict[str, list[dict[str, Any]]] = defaultdict(list)
        for fields in self._target.rows:
            decoded = CODEC.decode(fields)
            assert decoded.mid is not None
            found[decoded.mid].append(decoded.message)
        return dict(found)

    def bad(self, mid: str) -> Row:
        return row(mid, n=666)

    @staticmethod
    def _refuse(fields: Row) -> Refusal | None:
        return Refusal("n", "int", "no such number") if b"666" in fields else None


class ChdbHarness:
    """A table with `_mid`, a column per field, and `_extra`."""

    def __init__(self, warehouse: ChdbWarehouse, table: str, window: int) -> None:
        self._warehouse = warehouse
        self._table = table
        statement = ddl.create_table(TableName.read(table), SCHEMA)
        self._warehouse.execute(statement.replace(f"window = {ddl.WINDOW}", f"window = {window}"))

    def sink(self) -> Sink:
        return ClickHouseSink(edge(self._table), SCHEMA, EmbeddedBackend(self._warehouse), now_ms=lambda: NOW_MS + 1000)

    def stored(self) -> dict[str, list[dict[str, Any]]]:
        found: defaultdict[str, list[dict[str, Any]]] = defaultdict(list)
        for fields in EmbeddedBackend(self._warehouse).rows(f"SELECT * FROM {self._table}", {}):
            extra = json.loads(fields.pop("_extra"))
            fields["at"] = datetime.fromisoformat(fields["at"]).replace(tzinfo=UTC)
            found[fields.pop("_mid")].append(fields | extra)
        return dict(found)

    def bad(self, mid: str) -> Row:
        fields = row(mid)
        fields[fields.index(b"n") + 1] = b"9223372036854775808"
        return fields


class LeasedSink(ClickHouseSink):
    """Shakes hands as a runner does who has just taken the lease."""

    def __init__(self, leases: Leases, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._leases = leases

    def handshake(self, lineage: str, epoch: int) -> None:
        self._leases.take(lineage, epoch)
        super().handshake(lineage, epoch)


class ServerHarness:
    """The same on a server, which has no type for microseconds: they are kept as text."""

    def __init__(self, server: ClickHouseServer, table: str) -> None:
        self._table = table
        self._leases = Leases()
        self._address = ServerAddress.read(server.url)
        statement = ddl.create_table(TableName.read(table), SCHEMA | {"at": Field("str")}, (18, 16))
        self._backend().execute(statement)

    def sink(self) -> Sink:
        return LeasedSink(self._leases, edge(self._table), SCHEMA, self._backend(), now_ms=lambda: NOW_MS + 1000)

    def stored(self) -> dict[str, list[dict[str, Any]]]:
        found: defaultdict[str, list[dict[str, Any]]] = defaultdict(list)
        for fields in self._backend().rows(f"SELECT * FROM {self._table}", {}):
            extra = json.loads(fields.pop("_extra"))
            fields["at"] = datetime.fromisoformat(fields["at"])
            fields["ok"] = None if fields["ok"] is None else bool(fields["ok"])
            found[fields.pop("_mid")].append(fields | extra)
        return dict(found)

    def bad(self, mid: str) -> Row:
        fields = row(mid)
        fields[fields.index(b"n") + 1] = b"9223372036854775808"
        return fields

    def _backend(self) -> ServerBackend:
        return ServerBackend(self._address, self._leases)


class TestMemory(SinkContract):
    @pytest.fixture
    def harness(self) -> Harness:
        return MemoryHarness()


@pytest.mark.integration
class TestChdbByToken(SinkContract):
    @pytest.fixture
    def harness(self, warehouse: ChdbWarehouse, table: str) -> Harness:
        return ChdbHarness(warehouse, table, window=100)

    def test_it_is_this_mode(self, sink: Sink) -> None:
        assert sink.mode == "token"


@pytest.mark.integration
class TestChdbByReadingBack(SinkContract):
    @pytest.fixture
    def harness(self, warehouse: ChdbWarehouse, table: str) -> Harness:
        return ChdbHarness(warehouse, table, window=0)

    def test_it_is_this_mode(self, sink: Sink) -> None:
        assert sink.mode == "readback"


@pytest.mark.integration
class TestServerByReadingBack(SinkContract):
    @pytest.fixture
    def harness(self, clickhouse: ClickHouseServer, server_table: str) -> Harness:
        return ServerHarness(clickhouse, server_table)

    def test_it_is_this_mode(self, sink: Sink) -> None:
        assert sink.mode == "readback"
