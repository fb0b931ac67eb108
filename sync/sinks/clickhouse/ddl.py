"""Statements that make or mend a table. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from dataflow.flow.spec import Field, FieldType, Schema
from sync.sinks.clickhouse.table import EXTRA, MID, TOKENS_SINCE, Column, Table, TableName, quote

WINDOW = 10_000
"""How many blocks a table of ours remembers."""

NEWEST = (1000,)
"""A version that has everything."""

_TYPES: Mapping[FieldType, str] = {
    "int": "Int64",
    "float": "Float64",
    "bool": "Bool",
    "str": "String",
    "datetime": "DateTime64(6, 'UTC')",
    "json": "String",
}
_BEFORE: Mapping[FieldType, tuple[tuple[int, ...], str]] = {
    "bool": ((21, 12), "UInt8"),
    "datetime": ((20, 1), "DateTime('UTC')"),
}
"""The version that brought a type, and what stands in for it before."""


def create_database(name: TableName) -> str:
    """The statement that makes a table's database."""
    return f"CREATE DATABASE IF NOT EXISTS {quote(name.database)}"


def create_table(
    name: TableName,
    schema: Schema | None,
    version: tuple[int, ...] = NEWEST,
    projection: Sequence[str] | None = None,
) -> str:
    """The statement that makes a table for a stream: `_mid`, a column per declared field, `_extra` for all others.

    With a projection (the edge's `columns:`) there are these and `_mid` alone, for nothing else is ever written.

    Sorted by the first datetime field that is never null, then `_mid`: time ranges are read fast, and rows that were
    born together lie together. Where the server's version knows block tokens, the table remembers blocks.
    """
    columns = wanted_columns(schema, version, projection)
    described = ",\n".join(f"  {quote(column.name)} {column.type}" for column in columns)
    statement = (
        f"CREATE TABLE IF NOT EXISTS {name.quoted} (\n{described}\n)\n"
        f"ENGINE = MergeTree\nORDER BY ({', '.join(quote(key) for key in _sorting(schema, projection))})"
    )
    if version < TOKENS_SINCE:
        return statement
    return f"{statement}\nSETTINGS non_replicated_deduplication_window = {WINDOW}"


def wanted_columns(
    schema: Schema | None, version: tuple[int, ...] = NEWEST, projection: Sequence[str] | None = None
) -> tuple[Column, ...]:
    """The columns of such a table."""
    fields = [Column(name, _type(field, version)) for name, field in (schema or {}).items()]
    columns = (Column(MID, "String"), *fields, Column(EXTRA, "String"))
    return tuple(column for column in columns if column.name == MID or _chosen(column.name, projection))


def losses(schema: Schema | None, version: tuple[int, ...], projection: Sequence[str] | None = None) -> list[str]:
    """What a table of this version cannot hold of a schema, one sentence per field."""
    return [
        f"field {name}: {_type(field, version)} holds whole seconds of 1970 ... 2106 only"
        for name, field in (schema or {}).items()
        if field.type == "datetime" and version < _BEFORE["datetime"][0] and _chosen(name, projection)
    ]


def differences(table: Table, schema: Schema | None, projection: Sequence[str] | None = None) -> list[str]:
    """Where a table is not as `create_table` would make it, one sentence each. More columns are no difference."""
    there = {column.name: column.type for column in table.columns}
    return [
        f"column {column.name}: {there.get(column.name, 'missing')}, not {column.type}"
        for column in wanted_columns(schema, table.version, projection)
        if there.get(column.name) != column.type
    ]


def needed(
    table: Table | None,
    name: TableName,
    schema: Schema | None,
    version: tuple[int, ...],
    projection: Sequence[str] | None = None,
) -> list[str]:
    """The statements that a table lacks, so that an edge can store a stream there with each row once.

    Args:
        table: as it is; None if there is none.
        projection: the edge's `columns:`.
    """
    if table is None:
        return [create_database(name), create_table(name, schema, version, projection)]
    there = {column.name for column in table.columns}
    statements = [
        add_column(name, column) for column in wanted_columns(schema, version, projection) if column.name not in there
    ]
    if version >= TOKENS_SINCE and table.keeps_rows and table.window == 0:
        statements.append(remember_blocks(name))
    return statements


def recognise(name: TableName, version: tuple[int, ...]) -> str:
    """The statement after which batches can be recognised in a table of the MergeTree family."""
    return remember_blocks(name) if version >= TOKENS_SINCE else add_mid(name)


def remember_blocks(name: TableName) -> str:
    """The statement that lets a table recognise a batch that is sent again. From 22.2 on."""
    return f"ALTER TABLE {name.quoted} MODIFY SETTING non_replicated_deduplication_window = {WINDOW}"


def add_mid(name: TableName) -> str:
    """The statement that lets rows be found again."""
    return add_column(name, Column(MID, "String"))


def add_column(name: TableName, column: Column) -> str:
    """The statement that adds a column."""
    return f"ALTER TABLE {name.quoted} ADD COLUMN {quote(column.name)} {column.type}"


def _type(field: Field, version: tuple[int, ...]) -> str:
    since, older = _BEFORE.get(field.type, ((), ""))
    bare = _TYPES[field.type] if version >= since else older
    return f"Nullable({bare})" if field.nullable else bare


def _chosen(name: str, projection: Sequence[str] | None) -> bool:
    return projection is None or name in projection


def _sorting(schema: Schema | None, projection: Sequence[str] | None) -> Sequence[str]:
    moments = [
        name
        for name, field in (schema or {}).items()
        if field.type == "datetime" and not field.nullable and _chosen(name, projection)
    ]
    return [*moments[:1], MID]
