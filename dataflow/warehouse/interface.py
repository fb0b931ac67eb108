"""What every warehouse can be asked, and the form of its rows."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final, Protocol

import msgspec

from dataflow.errors import UserError

ROWS_FORMAT: Final = "JSONCompactEachRowWithNamesAndTypes"
"""The ClickHouse format that `read_rows` reads."""

_FLOAT: Final = re.compile(r"(?:LowCardinality\()?(?:Nullable\()?B?Float\d+\)*")

Value = str | int | float | bool | None
Parameter = Value | Sequence[Value]
"""What can be bound to a `{name:Type}` place of a statement."""


class QueryFailed(UserError):
    """The warehouse did not run the statement, or it failed."""


class Warehouse(Protocol):
    """Where a flow's edges store rows. Blocking; threads may share it."""

    def query(
        self,
        sql: str,
        format: str = "CSVWithNames",
        params: Mapping[str, Parameter] | None = None,
        *,
        write: bool = False,
        timeout_s: float = 60.0,
    ) -> bytes:
        """Run one statement and return its result in a ClickHouse output format.

        Args:
            params: values for the `{name:Type}` places of the statement; never part of its text.
            write: allow statements that change the warehouse; without it only those that read are run.

        Raises:
            QueryFailed: the statement is wrong, not allowed, too slow or its result too large.
            ServerAway: nobody answers; nothing was changed.
            OutcomeUnknown: with `write`, the answer did not come.
        """

    def rows(
        self, sql: str, params: Mapping[str, Parameter] | None = None, *, timeout_s: float = 60.0
    ) -> list[dict[str, Any]]:
        """The result of a reading statement, one dict per row: numbers, bools, null, else text. Raises as `query`."""


def read_rows(result: bytes) -> list[dict[str, Any]]:
    """The rows of a result in `ROWS_FORMAT`. Integers of any size stay exact, NaN and infinities are floats."""
    if not result:
        return []
    names, types, *rows = [msgspec.json.decode(line) for line in result.splitlines()]
    floats = [at for at, type_ in enumerate(types) if _FLOAT.fullmatch(type_)]
    for row in rows:
        for at in floats:
            row[at] = row[at] if row[at] is None else float(row[at])
    return [dict(zip(names, row, strict=True)) for row in rows]
