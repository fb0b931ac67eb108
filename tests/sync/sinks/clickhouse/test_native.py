"""Every type that can be written goes to a real chDB and comes back exactly."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from sync.sinks.clickhouse.backend import Insert, InsertFailed
from sync.sinks.clickhouse.embedded import EmbeddedBackend
from sync.sinks.clickhouse.encoders import ENCODERS, encoder
from sync.sinks.clickhouse.native import block
from sync.sinks.clickhouse.table import TableName, read_table
from sync.sinks.clickhouse.types import parse
from sync.warehouse.chdb import ChdbWarehouse

pytestmark = pytest.mark.integration

ROUND_TRIPS: list[tuple[str, Sequence[bytes]]] = [
    *[(f"UInt{bits}", [b"0", str(2**bits - 1).encode()]) for bits in (8, 16, 32, 64, 128, 256)],
    *[
        (f"Int{bits}", [str(-(2 ** (bits - 1))).encode(), str(2 ** (bits - 1) - 1).encode()])
        for bits in (8, 16, 32, 64, 128, 256)
    ],
    ("Float32", [b"1.5", b"nan", b"inf", b"-inf", b"-0.5"]),
    ("Float64", [b"0.1", b"5e-324", b"1.7976931348623157e308", b"nan", b"-inf"]),
    ("Bool", [b"true", b"false"]),
    ("Decimal(9, 2)", [b"-1234567.89", b"0"]),
    ("Decimal(18, 4)", [b"12345678901234.5678"]),
    ("Decimal(38, 10)", [b"-1234567890123456789012345678.0123456789"]),
    ("Decimal(76, 20)", [b"9" * 56 + b"." + b"9" * 20]),
    ("Date", [b"1970-01-01", b"2149-06-06"]),
    ("Date32", [b"1900-01-01", b"2299-12-31"]),
    ("DateTime", [b"1970-01-01 00:00:00", b"2106-02-07 06:28:15"]),
    ("DateTime('Asia/Tokyo')", [b"2026-01-31 12:00:00"]),
    ("DateTime64(3)", [b"1900-01-01 00:00:00", b"2299-12-31 23:59:59.999"]),
    ("DateTime64(6, 'UTC')", [b"1969-12-31 23:59:59.999999", b"2299-12-31 23:59:59.999999"]),
    ("DateTime64(9, 'Europe/Berlin')", [b"1900-01-01 00:00:00", b"2262-04-11 23:47:16"]),
    ("String", [b"", b"\0\n\t\\'\xff", "日本".encode(), b"x" * 70_000]),
    ("FixedString(4)", [b"ab\0\0", b"abcd"]),
    ("Enum8('a' = 1, 'it\\'s' = -2)", [b"a", b"it's"]),
    ("Enum16('y, z = 3' = 1000)", [b"y, z = 3"]),
    ("UUID", [b"61f0c404-5cb3-11e7-907b-a6006ad3dba0", b"00000000-0000-0000-0000-000000000000"]),
    ("IPv4", [b"10.0.0.1", b"0.0.0.0"]),
    ("IPv6", [b"2001:db8::1", b"::"]),
    ("LowCardinality(String)", [b"a", b"b", b"a"]),
    ("LowCardinality(Nullable(String))", [b"a", b"", b"a"]),
    ("Nullable(String)", [b"", b"x"]),
    ("Nullable(Int64)", [b"-1"]),
    ("Nullable(Float64)", [b"0.5"]),
    ("Nullable(Bool)", [b"false"]),
    ("Nullable(Date)", [b"2026-01-31"]),
    ("Nullable(DateTime64(6, 'UTC'))", [b"2026-01-31 12:00:00.000001"]),
    ("Nullable(Decimal(9, 2))", [b"1.5"]),
    ("Nullable(Enum8('a' = 1))", [b"a"]),
    ("Nullable(UUID)", [b"61f0c404-5cb3-11e7-907b-a6006ad3dba0"]),
    ("Nullable(FixedString(4))", [b"abcd"]),
    ("Nullable(UInt256)", [str(2**256 - 1).encode()]),
    ("Nullable(IPv4)", [b"10.0.0.1"]),
    ("Nullable(IPv6)", [b"::1"]),
]


def test_every_type_is_tried() -> None:
    assert {parse(type_).name for type_, _ in ROUND_TRIPS} == set(ENCODERS)


@pytest.mark.parametrize(("type_", "texts"), ROUND_TRIPS, ids=[type_ for type_, _ in ROUND_TRIPS])
def test_a_value_comes_back_as_it_was_sent(
    type_: str, texts: Sequence[bytes], warehouse: ChdbWarehouse, table: str
) -> None:
    """What we send equals what the server itself makes of the same text."""
    warehouse.execute(f"CREATE TABLE {table} (v {type_}, n UInt8) ENGINE = MergeTree ORDER BY n")
    backend = EmbeddedBackend(warehouse)
    name = TableName.read(table)
    described = read_table(backend, name)
    assert described is not None
    column = described.columns[0]
    values = [*map(encoder(column.parsed).one, texts), *([None] if column.parsed.nullable else [])]
    insert = Insert(name, [("v", column.type), ("n", "UInt8")], [values, range(len(values))], "id", False)
    backend.insert(insert)
    stored = backend.rows(f"SELECT hex(CAST(v AS Nullable(String))) AS v FROM {table} ORDER BY n", {})
    wanted = [_read_by_server(warehouse, column.type, text) for text in texts]
    assert [row["v"] for row in stored] == [*wanted, *([None] if column.parsed.nullable else [])]


def _read_by_server(warehouse: ChdbWarehouse, type_: str, text: bytes) -> str:
    """The server's own reading of a text (times are in UTC), as it prints the type; in hex."""
    value = f"unhex('{text.hex()}')"
    if "/" in type_:
        value = f"toDateTime64({value}, 9, 'UTC')"
    question = f"SELECT hex(CAST(CAST({value} AS {type_}) AS String))"
    return warehouse.execute(question, format="TSVRaw").decode().strip()


def test_an_error_of_the_engine_is_told_with_its_number(warehouse: ChdbWarehouse, table: str) -> None:
    backend = EmbeddedBackend(warehouse)
    with pytest.raises(InsertFailed) as failed:
        backend.insert(Insert(TableName.read(table), [("v", "UInt8")], [[1]], "token", True))
    assert failed.value.code == 60
    assert "UNKNOWN_TABLE" in str(failed.value)


@pytest.mark.parametrize(
    ("tokens", "rows"), [((None, None), 2), (("a", "a"), 1), (("a", "b"), 2), (("it's \\", "it's \\"), 1)]
)
def test_blocks_are_told_apart_by_their_tokens_alone(
    tokens: Sequence[str | None], rows: int, warehouse: ChdbWarehouse, table: str
) -> None:
    warehouse.execute(
        f"CREATE TABLE {table} (v UInt8) ENGINE = MergeTree ORDER BY v "
        "SETTINGS non_replicated_deduplication_window = 100"
    )
    for token in tokens:
        EmbeddedBackend(warehouse).insert(
            Insert(TableName.read(table), [("v", "UInt8")], [[1]], token or "id", token is not None)
        )
    assert int(warehouse.ask(f"SELECT count() FROM {table}", format="TSV")) == rows


def test_values_stay_as_they_were() -> None:
    values: list[list[int | None]] = [[1, None, 3]]
    assert block([("v", "Nullable(Int64)")], values)
    assert values == [[1, None, 3]]
