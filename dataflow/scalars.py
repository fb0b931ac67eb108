"""One value on the wire. This is the one place that says how a value is written and read; pure, no I/O.

| value | text of the entry field |
|---|---|
| str | itself, UTF-8; lone surrogates are refused |
| int | decimal digits, `-` in front of a negative one; at most 4300 digits |
| float | the shortest text that reads back to the same number (`repr`); `nan`, `inf`, `-inf` |
| bool | `true`, `false` |
| null | no entry field; the name stands in the field `_null`, a JSON array of names |
| datetime (declared) | ISO 8601 as `isoformat()` writes it, to the microsecond; further digits are cut |
| json (declared) | a str that holds valid JSON text |
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from types import NoneType
from typing import Any

import msgspec

from dataflow.flow.spec import Field, FieldType

Write = Callable[[Any], bytes | None]
"""Text of a value of one exact Python type; None for null. Raises ValueError, OverflowError."""

Read = Callable[[bytes], Any]
"""Value of a text. Raises ValueError or KeyError where the text is not of the type."""

_JSON = msgspec.json.Encoder()
_JSON_SYNTAX = msgspec.json.Decoder(msgspec.Raw)


def check_json(text: bytes) -> None:
    """Raise ValueError unless the text is one JSON value."""
    try:
        _JSON_SYNTAX.decode(text)
    except (msgspec.DecodeError, RecursionError) as error:
        raise ValueError(str(error)) from None


def _write_int(value: int) -> bytes:
    return b"%d" % value


def _write_float(value: float) -> bytes:
    return repr(float(value)).encode()


def _write_bool(value: bool) -> bytes:
    return b"true" if value else b"false"


def _write_datetime(value: datetime) -> bytes:
    return value.isoformat().encode()


def _write_datetime_text(value: str) -> bytes:
    return datetime.fromisoformat(value).isoformat().encode()


def _write_json(value: str) -> bytes:
    text = value.encode()
    check_json(text)
    return text


def _write_null(value: None) -> None:
    return None


def read_int(text: bytes) -> int:
    """Read decimal digits; unlike `int` not with underscores among them."""
    if b"_" in text:
        raise ValueError("not a whole number")
    return int(text)


def _read_float(text: bytes) -> float:
    if b"_" in text:
        raise ValueError("not a number")
    return float(text)


def _read_datetime(text: bytes) -> datetime:
    return datetime.fromisoformat(text.decode())


def _read_json(text: bytes) -> str:
    check_json(text)
    return text.decode()


_WRITERS: Mapping[FieldType, Mapping[type, Write]] = {
    "str": {str: str.encode},
    "int": {int: _write_int},
    "float": {float: _write_float, int: _write_float},
    "bool": {bool: _write_bool},
    "datetime": {datetime: _write_datetime, str: _write_datetime_text},
    "json": {str: _write_json},
}
_NULL_WRITER: Mapping[type, Write] = {NoneType: _write_null}
_UNDECLARED: Mapping[type, Write] = {
    str: str.encode,
    int: _write_int,
    float: _write_float,
    bool: _write_bool,
    datetime: _write_datetime,
    NoneType: _write_null,
}
_READERS: Mapping[FieldType, Read] = {
    "str": bytes.decode,
    "int": read_int,
    "float": _read_float,
    "bool": {b"true": True, b"false": False}.__getitem__,
    "datetime": _read_datetime,
    "json": _read_json,
}


def _write_ints(column: Sequence[int]) -> list[bytes]:
    return _JSON.encode(column)[1:-1].split(b",")


def _write_floats(column: Sequence[float]) -> list[bytes]:
    """As `repr` does. JSON has the same digits, but writes small and large numbers otherwise, and nan not at all."""
    text = _JSON.encode(list(map(float, column)))
    if b"e" in text or b"0.0000" in text or b"null" in text:
        return "\n".join(map(repr, map(float, column))).encode().split(b"\n")
    return text[1:-1].split(b",")


def _write_bools(column: Sequence[bool]) -> list[bytes]:
    return [b"true" if value else b"false" for value in column]


_COLUMN_WRITERS: Mapping[Write, Callable[[Sequence[Any]], list[bytes]]] = {
    _write_int: _write_ints,
    _write_float: _write_floats,
    _write_bool: _write_bools,
}


def write_column(table: Mapping[type, Write], column: Sequence[Any]) -> list[bytes]:
    """Texts of the values that many messages have in one field: what `table` says of each, several times faster.

    Raises KeyError, ValueError or OverflowError for a value that cannot be written, or that is null.
    """
    writes = {table[kind] for kind in set(map(type, column))}
    if _write_null in writes:
        raise ValueError("a null has no text")
    if len(writes) > 1:
        return [table[type(value)](value) for value in column]  # type: ignore[misc]  # no null among them
    write = writes.pop()
    many = _COLUMN_WRITERS.get(write)
    return many(column) if many else list(map(write, column))  # type: ignore[arg-type]  # no null among them


def _texts(column: Sequence[bytes]) -> list[str]:
    texts = b"\n".join(column).decode().split("\n")
    if len(texts) != len(column):
        raise ValueError("a line break in a text")
    return texts


def _numbers(column: Sequence[bytes]) -> Sequence[bytes]:
    if b"_" in b"".join(column):
        raise ValueError("not a number")
    return column


_COLUMN_READERS: Mapping[FieldType, Callable[[Sequence[bytes]], list[Any]]] = {
    "str": _texts,
    "int": lambda column: list(map(int, _numbers(column))),
    "float": lambda column: list(map(float, _numbers(column))),
}


def read_column(field: Field | None, column: Sequence[bytes]) -> list[Any]:
    """Values of the texts that many messages have in one field: what `reader` gives for each, several times faster.

    Raises ValueError or KeyError where a text is not of the type, and for some that `reader` takes (line breaks).
    """
    kind: FieldType = "str" if field is None else field.type
    many = _COLUMN_READERS.get(kind)
    return many(column) if many else list(map(_READERS[kind], column))


def writers(field: Field | None) -> Mapping[type, Write]:
    """How to write a field's values: exact Python type -> writer. None stands for an undeclared field."""
    if field is None:
        return _UNDECLARED
    return {**_WRITERS[field.type], **_NULL_WRITER} if field.nullable else _WRITERS[field.type]


def reader(field: Field | None) -> Read:
    """How to read a field's texts. None stands for an undeclared field, which reads as str."""
    return _READERS["str" if field is None else field.type]


def plain(value: Any) -> Any:
    """The Python scalar that a numpy or pandas scalar, or an instance of a subclass, stands for.

    NaT and NA are null. What is no scalar is returned as it is.
    """
    if value is None or type(value) in (str, int, float, bool):
        return value
    if type(value).__name__ in ("NaTType", "NAType"):
        return None
    if isinstance(value, datetime):
        return value if type(value) is datetime else datetime.fromisoformat(value.isoformat())
    for scalar in (str, int, float):
        if isinstance(value, scalar):
            return scalar(value)
    return _plain_numpy(value)


def _plain_numpy(value: Any) -> Any:
    dtype = getattr(value, "dtype", None)
    if dtype is None or getattr(value, "shape", None) != ():
        return value
    return value.astype("datetime64[us]").item() if dtype.kind == "M" else value.item()
