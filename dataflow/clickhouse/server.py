"""A ClickHouse server as a `Warehouse`: what `dataflow sql`, the audit and the search for messages ask."""

from __future__ import annotations

import re
from collections.abc import Mapping
from contextlib import closing
from typing import Any, Final

from dataflow.clickhouse import render
from dataflow.clickhouse.address import ServerAddress
from dataflow.clickhouse.link import Link, Result, ServerError
from dataflow.clickhouse.literals import fill
from dataflow.errors import UserError
from dataflow.warehouse.interface import Parameter, QueryFailed
from dataflow.warehouse.statements import without_comments

PATIENCE_S: Final = 5.0
"""How much longer than the server we wait: it is to say itself that a question took too long."""
RESULT_BYTES: Final = 64 << 20
MEMORY_BYTES: Final = 2 << 30

_READONLY: Final = 164
_READING: Final = {
    "readonly": 1,
    "max_result_bytes": RESULT_BYTES,
    "result_overflow_mode": "throw",
    "max_memory_usage": MEMORY_BYTES,
}
_CREATE_DATABASE: Final = re.compile(r"CREATE\s+DATABASE\b", re.IGNORECASE)
_VALUES: Final = re.compile(r"\s*INSERT\b(?!.*\bSELECT\b)", re.IGNORECASE | re.DOTALL)


class ServerWarehouse:
    """See `dataflow.warehouse.Warehouse`. A connection per question; threads may share it."""

    def __init__(self, address: ServerAddress) -> None:
        self.address = address

    def __repr__(self) -> str:
        return f"ServerWarehouse({self.address!r})"

    def query(
        self,
        sql: str,
        format: str = "CSVWithNames",
        params: Mapping[str, Parameter] | None = None,
        *,
        write: bool = False,
        timeout_s: float = 60.0,
    ) -> bytes:
        """See Warehouse. Formats are those of `dataflow.clickhouse.render`; the user's own rights hold in any case."""
        if format not in render.FORMATS:
            known = ", ".join(render.FORMATS)
            raise QueryFailed(f"a server gives no {format} over its native protocol; known are {known}")
        return render.FORMATS[format](self._run(sql, params, write, timeout_s))

    def rows(
        self, sql: str, params: Mapping[str, Parameter] | None = None, *, timeout_s: float = 60.0
    ) -> list[dict[str, Any]]:
        """See Warehouse."""
        return render.rows(self._run(sql, params, False, timeout_s))

    def _run(self, sql: str, params: Mapping[str, Parameter] | None, write: bool, timeout_s: float) -> Result:
        try:
            statement = fill(sql, params or {})
        except UserError as error:
            raise QueryFailed(str(error)) from error
        address = self.address.without_database() if _makes_database(statement) else self.address
        with closing(Link(address)) as link:
            try:
                return self._send(link, statement.strip().rstrip(";"), write, timeout_s)
            except ServerError as error:
                raise _told(error) from error

    def _send(self, link: Link, statement: str, write: bool, timeout_s: float) -> Result:
        limits = {"max_execution_time": max(1, round(timeout_s)), "send_logs_level": "none"}
        if not write:
            return link.ask(statement, limits | _READING, timeout_s=timeout_s + PATIENCE_S)
        if _VALUES.match(statement):
            raise QueryFailed("rows inside a statement are not sent over the native protocol: use INSERT ... SELECT")
        return link.change(statement, limits, timeout_s=timeout_s + PATIENCE_S)


def _makes_database(statement: str) -> bool:
    """Such a statement cannot be sent from within its database: the server lets nobody in before it is there."""
    return bool(_CREATE_DATABASE.match(without_comments(statement)))


def _told(error: ServerError) -> QueryFailed:
    hint = "; `dataflow sql --write` runs statements that change something" if error.code == _READONLY else ""
    return QueryFailed(f"{error}{hint}")
