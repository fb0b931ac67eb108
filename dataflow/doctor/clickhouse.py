"""A ClickHouse server and the tables that edges write to."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from dataflow.doctor.clock import judge_clock
from dataflow.doctor.finding import Finding
from dataflow.errors import DataflowError
from dataflow.flow.spec import Edge
from dataflow.warehouse import Warehouse

WINDOW: Final = 1000
"""Blocks that a table should remember: a batch in doubt must not have been forgotten when it is sent again."""
TOKENS_SINCE: Final = (22, 2)
_ASK: Final = "SELECT version() AS version, toUInt32(now()) AS now"


@dataclass(frozen=True, slots=True)
class TableFacts:
    """A table that is there. mode: how it knows a batch again. window: how many blocks it remembers."""

    name: str
    engine: str
    mode: str
    window: int
    has_mid: bool


LookAtTable = Callable[[Edge], TableFacts | None]
"""Ask the server for the table of an edge; None if there is none. Raises DataflowError."""


def examine(name: str, warehouse: Warehouse, edges: Sequence[Edge], look_at: LookAtTable) -> list[Finding]:
    """Look at the server of a connection, and at the table of each of its edges. Blocks. Changes nothing."""
    subject = f"clickhouse {name}"
    try:
        began, clock = time.perf_counter(), time.time()
        (row,) = warehouse.rows(_ASK, timeout_s=5)
        took_s = time.perf_counter() - began
    except DataflowError as error:
        remedy = "start it, or correct address, user and password of this connection"
        return [Finding(subject, "wrong", "unreachable", str(error), remedy)]
    found = [_version(subject, str(row["version"]), took_s * 1000)]
    found.append(judge_clock(subject, int(row["now"]) + 0.5 - (clock + took_s / 2)))
    version = _numbers(str(row["version"]))
    for edge in edges:
        found += _table(edge, version, look_at)
    return found


def _table(edge: Edge, version: tuple[int, ...], look_at: LookAtTable) -> list[Finding]:
    subject = f"edge {edge.name}"
    try:
        table = look_at(edge)
    except DataflowError as error:
        remedy = "let the user of this connection read system.tables and describe the table"
        return [Finding(subject, "wrong", "table", f"its table cannot be looked at: {error}", remedy)]
    return list(judge_table(subject, edge, version, table))


def judge_table(subject: str, edge: Edge, version: tuple[int, ...], table: TableFacts | None) -> Iterator[Finding]:
    """What is to be said about the table of an edge. Pure."""
    create = f"`dataflow ddl {edge.name}` prints the statement"
    if table is None:
        if edge.create_table:
            yield Finding(
                subject, "ok", "table", f"there is no table {edge.table} yet: the edge makes it when it starts"
            )
        else:
            yield Finding(subject, "wrong", "table", f"there is no table {edge.table}", f"make it: {create}")
        return
    yield _mode(subject, edge, version, table, create)
    if not table.has_mid:
        remedy = f"add the column; {create}"
        text = f"{table.name} has no column `_mid`: audit, search and batches in doubt do not find its rows"
        yield Finding(subject, "note", "mid", text, remedy)


def _mode(subject: str, edge: Edge, version: tuple[int, ...], table: TableFacts, create: str) -> Finding:
    said = f"{table.name} ({table.engine}) knows a batch again by {table.mode}"
    if table.mode == "none":
        if edge.delivery == "at_least_once":
            text = (
                f"{table.name} ({table.engine}) cannot know a batch again; rows may come twice, as the flow file allows"
            )
            return Finding(subject, "note", "mode", text)
        text = f"{table.name} ({table.engine}) cannot know a batch again: the edge refuses to run"
        return Finding(subject, "wrong", "mode", text, f"use a table of the MergeTree family with `_mid`; {create}")
    if table.mode == "token" and table.window < WINDOW:
        text = f"{said}, but remembers {table.window} blocks only"
        return Finding(subject, "note", "window", text, "set non_replicated_deduplication_window = 10000 on the table")
    if table.mode == "readback" and version >= TOKENS_SINCE:
        remedy = f"give the table a deduplication window: then views that failed get their rows, too; {create}"
        return Finding(subject, "note", "mode", said, remedy)
    return Finding(subject, "ok", "mode", said)


def _version(subject: str, text: str, latency_ms: float) -> Finding:
    said = f"ClickHouse {text} answers in {latency_ms:.1f} ms"
    if _numbers(text) < TOKENS_SINCE:
        remedy = "from 22.2 on a table knows a batch again by its token, and views that failed get their rows"
        return Finding(subject, "note", "version", said, remedy)
    return Finding(subject, "ok", "version", said)


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split(".") if part.isdecimal())
