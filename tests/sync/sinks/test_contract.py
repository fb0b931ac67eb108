"""The sink contract on memory and on a real chDB, in each mode that recognises batches."""

from __future__ import annotations

import json
from collections import defaultdict
from datetime import UTC, datetime
from typing import Any

import pytest

from sync.sink import Refusal, Row, Sink
from sync.sinks.clickhouse import ddl
from sync.sinks.clickhouse.embedded import EmbeddedBackend
from sync.sinks.clickhouse.sink import ClickHouseSink
from sync.sinks.clickhouse.table import TableName
from sync.sinks.memory import MemorySink, MemoryTarget
from sync.warehouse.chdb import ChdbWarehouse
from tests.sync.sink_contract import CODEC, NOW_MS, SCHEMA, Harness, SinkContract, row
from tests.sync.sinks.edges import edge


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
