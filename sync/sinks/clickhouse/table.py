"""What the server says about a table, and how duplicates can be recognised there."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from dataflow.warehouse import Parameter
from sync.sinks.clickhouse.types import ColumnType, parse

MID = "_mid"
EXTRA = "_extra"

TOKENS_SINCE = (22, 2)
_WINDOW = re.compile(r"\b(non_)?replicated_deduplication_window = (\d+)")

_ENGINE = """
SELECT engine, engine_full, toUInt8(length(dependencies_table) > 0) AS feeds
FROM system.tables WHERE database = {database:String} AND name = {table:String}
"""
_DEFAULT_WINDOWS = """
SELECT name, toUInt64(value) AS value FROM system.merge_tree_settings
WHERE name IN ('non_replicated_deduplication_window', 'replicated_deduplication_window')
"""


@dataclass(frozen=True, slots=True)
class TableName:
    """A table as a flow file names it: `table` or `database.table`."""

    database: str
    table: str

    @classmethod
    def read(cls, text: str, database: str = "default") -> TableName:
        """Without a database of its own it is in `database`."""
        own, _, table = text.rpartition(".")
        return cls(own or database, table)

    @property
    def quoted(self) -> str:
        """As it stands in a statement."""
        return f"{quote(self.database)}.{quote(self.table)}"

    def __str__(self) -> str:
        return f"{self.database}.{self.table}"


@dataclass(frozen=True, slots=True)
class Column:
    """A column. `kind` is "" or DEFAULT for those that can be written, else MATERIALIZED, ALIAS, EPHEMERAL."""

    name: str
    type: str
    kind: str = ""

    @property
    def parsed(self) -> ColumnType:
        """Its type, taken apart."""
        return parse(self.type)

    @property
    def writable(self) -> bool:
        """Whether an INSERT may name it."""
        return self.kind in ("", "DEFAULT")


@dataclass(frozen=True, slots=True)
class Table:
    """A table as it was when the server was asked.

    window: how many blocks it remembers for `insert_deduplication_token`; 0 for none.
    feeds: whether materialized views hang on it, so that an INSERT may fail after it has written.
    """

    name: TableName
    columns: tuple[Column, ...]
    engine: str
    window: int
    version: tuple[int, ...]
    feeds: bool = False

    @property
    def mode(self) -> Literal["token", "readback", "none"]:
        """The best way to recognise a batch that was applied before."""
        if self.window > 0 and self.version >= TOKENS_SINCE:
            return "token"
        return "readback" if self.keeps_rows and self.has_mid else "none"

    @property
    def keeps_rows(self) -> bool:
        """Whether what was inserted can be found again."""
        return self.engine.endswith("MergeTree")

    @property
    def is_plain(self) -> bool:
        """Whether it holds what was inserted row by row, and notes tokens in a file, before the rows are in place.

        Replicated tables note both in one step; others of the family merge rows, and ids vanish.
        """
        return self.engine == "MergeTree"

    @property
    def has_mid(self) -> bool:
        """Whether there is a `_mid` to find rows by."""
        return any(column.name == MID and column.writable and column.parsed.name == "String" for column in self.columns)


class Asked(Protocol):
    """A ClickHouse that can be asked."""

    def version(self) -> tuple[int, ...]:
        """The server's version."""

    def rows(self, question: str, parameters: Mapping[str, Parameter]) -> list[dict[str, Any]]:
        """The result of a statement with `{name:Type}` places."""


def read_table(asked: Asked, name: TableName) -> Table | None:
    """Ask what a table is like; None if there is none. Blocks. Raises as `rows` of who is asked."""
    where = {"database": name.database, "table": name.table}
    found = asked.rows(_ENGINE, where)
    if not found:
        return None
    described = asked.rows(f"DESCRIBE TABLE {name.quoted}", {})
    engine = found[0]["engine"]
    return Table(
        name=name,
        columns=tuple(Column(row["name"], row["type"], row["default_type"]) for row in described),
        engine=engine,
        window=_window(engine, found[0]["engine_full"], asked) if engine.endswith("MergeTree") else 0,
        version=asked.version(),
        feeds=bool(found[0]["feeds"]),
    )


def quote(identifier: str) -> str:
    """An identifier as it stands in a statement."""
    return "`" + identifier.replace("\\", "\\\\").replace("`", "\\`") + "`"


def _window(engine: str, engine_full: str, asked: Asked) -> int:
    replicated = engine.startswith("Replicated")
    settings = engine_full.rpartition(" SETTINGS ")[2]
    for non_replicated, value in _WINDOW.findall(settings):
        if bool(non_replicated) != replicated:
            return int(value)
    wanted = "replicated_deduplication_window" if replicated else "non_replicated_deduplication_window"
    defaults = {row["name"]: int(row["value"]) for row in asked.rows(_DEFAULT_WINDOWS, {})}
    return defaults.get(wanted, 0)
