"""A message as a BSON document: `_id` is its `_mid`, every other field keeps its name and its type. Pure.

| declared | BSON |
|---|---|
| `str`, or nothing | string |
| `int` | 64-bit integer; what is larger is refused |
| `float` | double, with NaN and infinities |
| `bool`, null | bool, null |
| `datetime` | date: UTC to the millisecond, finer digits are cut, a time without a zone is UTC |
| `json` | what the text says: object, array, number ...; a null in it is null |

Names that updates and queries cannot address (empty, beginning with `$`, with a `.` or a NUL in them) are refused,
inside of `json` too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, Final

import bson
import msgspec
from bson.errors import InvalidDocument
from bson.int64 import Int64

from dataflow.errors import InvalidMessage
from dataflow.faults import show
from dataflow.flow.spec import Field, Schema
from dataflow.message import MID, Codec
from sync.sink import Refusal, Row

MAX_DOCUMENT_BYTES: Final = 16 * 1024 * 1024
"""What MongoDB takes as one document, `_id` included."""
MAX_DEPTH: Final = 100
"""Levels of values within values that MongoDB takes, the document itself included."""

_INT64: Final = range(-(2**63), 2**63)
_Convert = Callable[[Any], Any]


class _Unfit(Exception):
    """A value that BSON cannot hold. The only argument says why."""


class Documents:
    """Makes documents of the rows of one stream. Holds nothing but caches.

    Args:
        schema: the stream's declared fields; None where it declares none: then all values are strings.
    """

    def __init__(self, schema: Schema | None) -> None:
        self._schema = schema or {}
        self._codec = Codec(schema)
        self._converters = {name: _CONVERTERS[field.type] for name, field in self._schema.items()}

    def read(self, row: Row) -> tuple[str, bytes] | Refusal:
        """The `_id` and the BSON of all other fields; or why a row cannot be a document."""
        try:
            decoded = self._codec.decode(row)
        except InvalidMessage as error:
            fault = error.faults[0]
            return Refusal(fault.field, self._type(fault.field), fault.text)
        if decoded.mid is None:
            return Refusal(MID.decode(), "", "the message has no id")
        return self._document(decoded.mid, decoded.message)

    def _document(self, mid: str, message: Mapping[str, Any]) -> tuple[str, bytes] | Refusal:
        name = ""
        try:
            for name, value in message.items():
                _check_name(name)
                convert = self._converters.get(name)
                if convert is not None and value is not None:
                    message[name] = convert(value)  # type: ignore[index]  # decode gives it away
            return mid, _encoded(mid, message)
        except _Unfit as why:
            return Refusal(name, self._type(name), str(why))
        except _TooLarge as why:
            return Refusal("", "", str(why))

    def _type(self, name: str) -> str:
        field: Field | None = self._schema.get(name)
        return field.type if field else ""


class _TooLarge(Exception):
    """The document as a whole does not fit. The only argument says why."""


def _encoded(mid: str, message: Mapping[str, Any]) -> bytes:
    try:
        body = bson.encode(message)
    except (InvalidDocument, OverflowError, RecursionError, ValueError) as error:
        raise _TooLarge(f"BSON cannot hold the message: {error}") from None
    whole = len(body) + len(mid.encode()) + len("\2_id\0\0\0\0\0\0")
    if whole > MAX_DOCUMENT_BYTES:
        raise _TooLarge(f"as a document it takes {whole} bytes; MongoDB takes at most {MAX_DOCUMENT_BYTES}")
    return body


def _int(value: int) -> Int64:
    if value not in _INT64:
        raise _Unfit(f"{show(value)} does not fit into 64 bits")
    return Int64(value)


def _date(value: datetime) -> datetime:
    try:
        moment = value.astimezone(UTC) if value.tzinfo else value.replace(tzinfo=UTC)
    except OverflowError:
        raise _Unfit(f"{show(value)} lies outside of the years 1 to 9999 in UTC") from None
    return moment.replace(microsecond=moment.microsecond // 1000 * 1000)


def _json(text: str) -> Any:
    try:
        return _nested(msgspec.json.decode(text), 2)
    except msgspec.DecodeError as error:
        raise _Unfit(f"the JSON text cannot be read: {error}") from None


def _nested(value: Any, depth: int) -> Any:
    """A value of a JSON text as BSON has it. Checks names, numbers and depth."""
    if depth > MAX_DEPTH and isinstance(value, dict | list):
        raise _Unfit(f"nested deeper than {MAX_DEPTH} levels")
    if isinstance(value, dict):
        _check_names(value)
        return {name: _nested(inner, depth + 1) for name, inner in value.items()}
    if isinstance(value, list):
        return [_nested(inner, depth + 1) for inner in value]
    return _int(value) if type(value) is int else value


def _check_names(names: Iterable[str]) -> None:
    for name in names:
        _check_name(name)


def _check_name(name: str) -> None:
    reason = _name_fault(name)
    if reason:
        raise _Unfit(f"{reason}: {show(name)!r}")


@lru_cache(4096)
def _name_fault(name: str) -> str:
    """Why a name cannot stand in a document, "" if it can."""
    if not name:
        return "a field of a document needs a name"
    if "\0" in name:
        return "the name of a field in MongoDB cannot hold a NUL"
    if name.startswith("$") or "." in name:
        return "the name of a field in MongoDB must not begin with $ or hold a dot"
    return ""


def _same(value: Any) -> Any:
    return value


_CONVERTERS: Final[Mapping[str, _Convert]] = {
    "str": _same,
    "int": _int,
    "float": _same,
    "bool": _same,
    "datetime": _date,
    "json": _json,
}
