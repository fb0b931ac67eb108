"""Edges for tests."""

from __future__ import annotations

from typing import Any

from dataflow.flow.spec import Edge


def edge(table: str, /, **options: Any) -> Edge:
    """An s2ch edge into a table."""
    fields: dict[str, Any] = {
        "name": "archive",
        "kind": "s2ch",
        "source": "a.stream_out",
        "to_stream": None,
        "route": None,
        "connection": "warehouse",
        "table": table,
        "create_table": False,
        "columns": None,
        "delivery": "exactly_once",
        "batch": 1000,
        "min_batch": 1,
        "max_wait_s": 1.0,
        "lease_s": 30.0,
        "join": "start",
        "task": None,
    }
    return Edge(**(fields | options))
