"""Statements that make or mend a table. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from dataflow.flow.spec import Field, FieldType, Schema
from sync.sinks.clickhouse.table import EXTRA, MID, Column, Table, TableName, quote

WINDOW = 10_000
"""How many blocks a table of ours remembers."""

_TYPES: Mapping[FieldType, str] = {
    "int": "Int64",
    "float": "Float64",
    "bool": "Bool",
    "str": "String",
    "datetime": "DateTime64(6, 'UTC')",
    "json": "String",
}


def create_database(name: TableName) -> str:
    """The statement that makes a table's database."""
    return f"CREATE DATABASE IF NOT EXISTS {quote(name.database)}"


def create_table(name: TableName, schema: Schema | None) -> str:
    """The statement that makes a table for a stream: `_mid`, a column per declared field, `_extra` for all others.

    Sorted by the first datetime field that is never null, then `_mid`: time ranges are read fast, and rows that were
    born together lie together.
    """
    columns = wanted_columns(schema)
    described = ",\n".join(f"  {quote(column.name)} {column.type}" for column in columns)
    return (
        f"CREATE TABLE IF NOT EXISTS {name.quoted} (\n{described}\n)\n"
        f"ENGINE = MergeTree\nORDER BY ({', '.join(quote(key) for key in _sorting(schema))})\n"
        f"SETTINGS non_replicated_deduplication_window = {WINDOW}"
    )


def wanted_columns(schema: Schema | None) -> tuple[Column, ...]:
    """The columns of such a table."""
    fields = [Column(name, _type(field)) for name, field in (schema or {}).items()]
    return (Column(MID, "String"), *fields, Column(EXTRA, "String"))


def differences(table: Table, schema: Schema | None) -> list[str]:
    """Where a table is not as `create_table` would make it, one sentence each. More columns are no difference."""
    there = {column.name: column.type for column in table.columns}
    return [
        f"column {column.name}: {there.get(column.name, 'missing')}, not {column.type}"
        for column in wanted_columns(schema)
        if there.get(column.name) != column.type
    ]


def remember_blocks(name: TableName) -> str:
    """The statement that lets a table recognise a batch that is sent again."""
    return f"ALTER TABLE {name.quoted} MODIFY SETTING non_replicated_deduplication_window = {WINDOW}"


def add_mid(name: TableName) -> str:
    """The statement that lets rows be found again."""
    return f"ALTER TABLE {name.quoted} ADD COLUMN {quote(MID)} String"


def _type(field: Field) -> str:
    bare = _TYPES[field.type]
    return f"Nullable({bare})" if field.nullable else bare


def _sorting(schema: Schema | None) -> Sequence[str]:
    moments = [name for name, field in (schema or {}).items() if field.type == "datetime" and not field.nullable]
    return [*moments[:1], MID]
