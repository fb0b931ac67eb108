"""A result as text: the output formats that `dataflow` offers, made here, for the native protocol has none. Pure."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from datetime import date, datetime
from decimal import Decimal
from functools import partial
from typing import Any, Final

import msgspec

from dataflow.clickhouse.link import Result

_FRACTION: Final = re.compile(r"DateTime64\((\d+)")
_ESCAPES: Final = str.maketrans({"\\": "\\\\", "\t": "\\t", "\n": "\\n", "\r": "\\r", "\0": "\\0"})
_NULL: Final = "\\N"

Convert = Callable[[Any], Any]


def rows(result: Result) -> list[dict[str, Any]]:
    """One dict per row: numbers, bools, null, lists of those; all else as the text that ClickHouse shows."""
    converts = [_converter(type_) for type_ in result.types]
    return [
        {name: convert(value) for name, convert, value in zip(result.names, converts, row, strict=True)}
        for row in result.rows
    ]


def json_lines(result: Result) -> bytes:
    """One JSON object per line; NaN and infinities as text."""
    return b"".join(msgspec.json.encode(_finite(row)) + b"\n" for row in rows(result))


def csv(result: Result) -> bytes:
    """Comma-separated values with names."""
    lines = [",".join(map(_csv_quoted, result.names))]
    lines += [",".join(map(_csv_cell, row.values())) for row in _unique(result)]
    return ("\n".join(lines) + "\n").encode()


def tsv(result: Result) -> bytes:
    """Tab-separated values with names."""
    lines = ["\t".join(name.translate(_ESCAPES) for name in result.names)]
    lines += ["\t".join(_cell(value).translate(_ESCAPES) for value in row.values()) for row in _unique(result)]
    return ("\n".join(lines) + "\n").replace("\\\\N", _NULL).encode()


def table(result: Result) -> bytes:
    """A table for people: numbers to the right, texts to the left."""
    found = [[_shown(value) for value in row.values()] for row in _unique(result)]
    if not result.names:
        return b""
    columns = list(zip(result.names, *found, strict=True))
    widths = [max(map(len, column)) for column in columns]
    right = [all(isinstance(row[at], (int, float, Decimal)) for row in result.rows) for at in range(len(widths))]
    lines = [_line(result.names, widths, right), "-+-".join("-" * width for width in widths)]
    lines += [_line(row, widths, right) for row in found]
    return ("\n".join(lines) + "\n").encode()


FORMATS: Final[Mapping[str, Callable[[Result], bytes]]] = {
    "PrettyCompactMonoBlock": table,
    "JSONEachRow": json_lines,
    "CSVWithNames": csv,
    "TabSeparatedWithNames": tsv,
}
"""ClickHouse's name of a format -> what makes it."""


def _unique(result: Result) -> list[dict[Any, Any]]:
    """Rows whose columns may share a name."""
    numbered = Result(result.names and [str(at) for at in range(len(result.names))], result.types, result.rows)
    return [dict(row) for row in rows(numbered)]


def _converter(type_: str) -> Convert:
    found = _FRACTION.search(type_)
    return partial(_plain, digits=int(found[1]) if found else 0)


def _plain(value: Any, digits: int) -> Any:
    if value is None or isinstance(value, (bool, int, float)):
        return value
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    if isinstance(value, datetime):
        return _moment(value, digits)
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, (list, tuple)):
        return [_plain(item, digits) for item in value]
    if isinstance(value, dict):
        return {str(_plain(key, digits)): _plain(item, digits) for key, item in value.items()}
    return str(value)


def _moment(value: datetime, digits: int) -> str:
    whole = value.replace(tzinfo=None, microsecond=0).isoformat(" ")
    return f"{whole}.{f'{value.microsecond:06}000'[:digits]}" if digits else whole


def _finite(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, list):
        return [_finite(item) for item in value]
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    return value


def _cell(value: Any) -> str:
    if value is None:
        return _NULL
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (list, dict)):
        return msgspec.json.encode(_finite(value)).decode()
    return str(value)


def _csv_cell(value: Any) -> str:
    bare = value is None or isinstance(value, (bool, int, float))
    return _cell(value) if bare else _csv_quoted(_cell(value))


def _csv_quoted(text: str) -> str:
    return '"' + text.replace('"', '""') + '"'


def _shown(value: Any) -> str:
    return "NULL" if value is None else _cell(value).translate(_ESCAPES)


def _line(cells: Sequence[str], widths: Sequence[int], right: Sequence[bool]) -> str:
    placed = [cell.rjust(w) if r else cell.ljust(w) for cell, w, r in zip(cells, widths, right, strict=True)]
    return " | ".join(placed).rstrip()
