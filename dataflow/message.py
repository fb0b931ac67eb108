"""A message on the wire: the encoding of every scalar, the limits, and the codec. Pure, no I/O.

A message is a flat dict, field name -> str, int, float, bool or null. Each one is a stream entry with one
entry field per message field, so that any Redis client can read and write it. This is the one place that says
how a value is written:

| value | text of the entry field |
|---|---|
| str | itself, UTF-8; lone surrogates are refused |
| int | decimal digits, `-` in front of a negative one; at most 4300 digits |
| float | the shortest text that reads back to the same number (`repr`); `nan`, `inf`, `-inf` |
| bool | `true`, `false` |
| null | no entry field; the name stands in the field `_null`, a JSON array of names |
| datetime (declared) | ISO 8601 as `isoformat()` writes it, to the microsecond; further digits are cut |
| json (declared) | a str that holds valid JSON text |

Names beginning with `_` are ours: `_mid`, `_path`, `_attempt` come first in entries that we write, `_null` last.
A field of that kind that we do not know is passed over when an entry is read.

With a schema, declared fields come back as the Python types that were sent (an int in a float field comes back as
float), a declared nullable field that is missing comes back as None, and undeclared fields as str or None. Without
a schema every field comes back as str or None.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from functools import partial
from types import NoneType
from typing import Any, Final, NamedTuple

import msgspec

from dataflow.errors import Fault, InvalidMessage
from dataflow.flow.spec import Field, FieldType, Schema
from dataflow.ids import child_id, extend_path, foreign_id, message_id, mid_time_ms, parent_id, request_id

__all__ = [
    "MAX_FIELDS",
    "MAX_MESSAGE_BYTES",
    "MAX_NAME_BYTES",
    "MAX_VALUE_BYTES",
    "Codec",
    "Decoded",
    "child_id",
    "extend_path",
    "foreign_id",
    "message_id",
    "meta",
    "mid_time_ms",
    "parent_id",
    "request_id",
]

MAX_FIELDS: Final = 500
"""User fields of one message, nulls counted."""
MAX_NAME_BYTES: Final = 256
"""Bytes of one field name."""
MAX_VALUE_BYTES: Final = 1 << 20
"""Bytes of one value as written."""
MAX_MESSAGE_BYTES: Final = 1 << 20
"""Bytes of all names and values of one message as written."""

MID: Final = b"_mid"
PATH: Final = b"_path"
ATTEMPT: Final = b"_attempt"
NULL: Final = b"_null"

_MAX_SHAPES = 256
_UNDECLARED = Field("str", nullable=True)
_JSON_SYNTAX = msgspec.json.Decoder(msgspec.Raw)
_BOOLS = {b"true": True, b"false": False}

_Write = Callable[[Any], bytes | None]
_Read = Callable[[bytes], Any]


def meta(mid: str, path: str) -> list[bytes]:
    """The fields that every entry of ours begins with; the user's fields follow."""
    return [MID, mid.encode(), PATH, path.encode()]


class Decoded(NamedTuple):
    """An entry as a handler sees it. A foreign entry has no `mid` and an empty `path`; `attempt` is 0 where none
    is told."""

    mid: str | None
    path: str
    attempt: int
    message: dict[str, Any]


# Writing one value


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
    _check_json(text)
    return text


def _write_null(value: None) -> None:
    return None


def _check_json(text: bytes) -> None:
    try:
        _JSON_SYNTAX.decode(text)
    except (msgspec.DecodeError, RecursionError) as error:
        raise ValueError(str(error)) from None


_WRITERS: Mapping[FieldType, Mapping[type, _Write]] = {
    "str": {str: str.encode},
    "int": {int: _write_int},
    "float": {float: _write_float, int: _write_float},
    "bool": {bool: _write_bool},
    "datetime": {datetime: _write_datetime, str: _write_datetime_text},
    "json": {str: _write_json},
}
_UNDECLARED_WRITERS: Mapping[type, _Write] = {
    str: str.encode,
    int: _write_int,
    float: _write_float,
    bool: _write_bool,
    datetime: _write_datetime,
    NoneType: _write_null,
}


# Reading one value


def _read_int(text: bytes) -> int:
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
    _check_json(text)
    return text.decode()


_READERS: Mapping[FieldType, _Read] = {
    "str": bytes.decode,
    "int": _read_int,
    "float": _read_float,
    "bool": _BOOLS.__getitem__,
    "datetime": _read_datetime,
    "json": _read_json,
}


# Shapes: what is the same for all messages with the same names is worked out once


class _WriteShape(NamedTuple):
    names: tuple[str, ...]
    tables: tuple[Mapping[type, _Write], ...]
    blank: list[bytes]


class _ReadShape(NamedTuple):
    mid_at: int | None
    path_at: int | None
    attempt_at: int | None
    null_at: int | None
    fields: tuple[tuple[str, _Read, int], ...]
    absent: Mapping[str, None]
    lacking: frozenset[str]


class Codec:
    """Encodes and decodes the messages of one stream. Holds nothing but caches; threads may share it.

    Args:
        schema: the stream's declared fields; None where it declares none.
    """

    def __init__(self, schema: Schema | None) -> None:
        self._schema: Schema = schema or {}
        self._tables = {name: _table(field) for name, field in self._schema.items()}
        self._demanded = frozenset(name for name, field in self._schema.items() if not field.nullable)
        self._write_shapes: dict[tuple[str, ...], _WriteShape] = {}
        self._read_shapes: dict[tuple[bytes, ...], _ReadShape] = {}

    def encode(self, message: Mapping[str, Any]) -> list[bytes]:
        """Write a message as flat entry fields: name, value, name, value, ... and `_null` last if any is null.

        Also takes scalars of numpy and pandas (NaT and NA are null). The caller owns the list and puts `meta`
        before it.

        Raises:
            InvalidMessage: with every fault of the message, at index 0.
        """
        try:
            return self._encode(message)
        except (LookupError, ValueError, TypeError, OverflowError, AttributeError):
            return self._encode_slowly(message)

    def faults(self, message: object, index: int) -> list[Fault]:
        """Everything that is wrong with a message; empty when `encode` would take it.

        Of a message with too many fields the first 500 are looked at.

        Args:
            index: the position to tell in each fault.
        """
        if not isinstance(message, Mapping):
            text = f"a message is an object of names and values, not {_kind(message)}"
            return [Fault(index, "", "not_a_dict", text)]
        return list(self._find_faults(message, partial(Fault, index)))

    def decode(self, fields: Sequence[bytes]) -> Decoded:
        """Read an entry's flat fields, ours or a foreign writer's, in any order. The caller owns the message.

        Raises:
            InvalidMessage: bytes that are not UTF-8, a value that is not of its declared type, a declared field that
                is missing or null without being nullable, a name twice. The caller makes a dead letter of the entry.
        """
        shape = self._read_shape(tuple(fields[::2]))
        values = fields[1::2]
        try:
            message = {name: read(values[at]) for name, read, at in shape.fields}
            mid = None if shape.mid_at is None else values[shape.mid_at].decode()
            path = "" if shape.path_at is None else values[shape.path_at].decode()
            attempt = 0 if shape.attempt_at is None else _read_int(values[shape.attempt_at])
        except (ValueError, KeyError):
            raise InvalidMessage(list(self._read_faults(shape, values))) from None
        if shape.null_at is not None:
            self._add_nulls(message, values[shape.null_at])
        elif shape.lacking:
            raise InvalidMessage([_missing(name) for name in sorted(shape.lacking)])
        if shape.absent:
            message = {**shape.absent, **message}
        return Decoded(mid or None, path, attempt, message)

    # Encoding

    def _encode(self, message: Mapping[str, Any]) -> list[bytes]:
        shape = self._write_shapes.get(tuple(message)) or self._learn_write_shape(message)
        values = [
            table[type(value)](value) for table, value in zip(shape.tables, message.values(), strict=True)
        ]
        if None in values:
            fields = _with_nulls(shape, values)
        else:
            fields = shape.blank.copy()
            fields[1::2] = values  # type: ignore[assignment]
        if sum(map(len, fields)) > MAX_MESSAGE_BYTES:
            raise ValueError("too long")
        return fields

    def _encode_slowly(self, message: Mapping[str, Any]) -> list[bytes]:
        faults = self.faults(message, 0)
        if faults:
            raise InvalidMessage(faults)
        return self._encode({str(name): _plain(value) for name, value in message.items()})

    def _learn_write_shape(self, message: Mapping[str, Any]) -> _WriteShape:
        names = tuple(message)
        if len(names) > MAX_FIELDS or not self._demanded.issubset(names):
            raise ValueError("names that do not fit")
        if any(type(name) is not str or _name_fault(name) for name in names):
            raise ValueError("a name that does not fit")
        tables = tuple(self._tables.get(name, _UNDECLARED_WRITERS) for name in names)
        blank = [part for name in names for part in (name.encode(), b"")]
        _make_room(self._write_shapes)
        return self._write_shapes.setdefault(names, _WriteShape(names, tables, blank))

    def _find_faults(self, message: Mapping[Any, Any], fault: partial[Fault]) -> Iterator[Fault]:
        if len(message) > MAX_FIELDS:
            yield fault("", "too_many_fields", f"{len(message)} fields; at most {MAX_FIELDS} are allowed")
        size = 0
        for name, value in list(message.items())[:MAX_FIELDS]:
            wrong_name = _name_fault(name)
            if wrong_name:
                yield fault(_show(name), *wrong_name)
                continue
            text, wrong_value = self._try_value(name, _plain(value))
            if wrong_value:
                yield fault(name, *wrong_value)
            size += len(name.encode()) + len(text)
        for name in sorted(self._demanded - message.keys()):
            yield fault(
                name,
                "missing",
                f"the stream declares this field ({self._schema[name].type}); it must be there",
            )
        if size > MAX_MESSAGE_BYTES:
            yield fault(
                "", "too_long", f"the message takes {size} bytes; at most {MAX_MESSAGE_BYTES} are allowed"
            )

    def _try_value(self, name: str, value: object) -> tuple[bytes, tuple[str, str] | None]:
        write = self._tables.get(name, _UNDECLARED_WRITERS).get(type(value))
        if write is None:
            return b"", self._type_fault(name, value)
        try:
            text = write(value) or b""
        except UnicodeEncodeError:
            return b"", ("bad_unicode", "the text holds half of a surrogate pair, which UTF-8 cannot write")
        except (ValueError, OverflowError):
            return b"", self._value_fault(name, value)
        if len(text) > MAX_VALUE_BYTES:
            return b"", ("too_long", f"{len(text)} bytes; at most {MAX_VALUE_BYTES} are allowed")
        return text, None

    def _type_fault(self, name: str, value: object) -> tuple[str, str]:
        if value is None:
            return (
                "null",
                f"null is not allowed here; the field is declared {self._schema[name].type}, not nullable",
            )
        if isinstance(value, Mapping | list | tuple | set | frozenset):
            return "nested", f"{_kind(value)} inside a message; values are text, numbers, true, false or null"
        if name in self._schema:
            return (
                "wrong_type",
                f"{_show(value)} is {_kind(value)}; the field is declared {self._schema[name].type}",
            )
        return (
            "wrong_type",
            f"{_kind(value)} cannot be written; values are text, numbers, true, false or null",
        )

    def _value_fault(self, name: str, value: object) -> tuple[str, str]:
        declared = self._schema[name].type if name in self._schema else "int"
        if isinstance(value, int) and declared == "int":
            return "too_long", "a whole number of more than 4300 digits"
        wanted = {
            "float": "a number that a double can hold",
            "datetime": "a date and time in ISO 8601, such as 2024-05-01T12:30:00+00:00",
            "json": "valid JSON text",
        }
        return "wrong_type", f"{_show(value)} is not {wanted.get(declared, declared)}"

    # Decoding

    def _read_shape(self, names: tuple[bytes, ...]) -> _ReadShape:
        shape = self._read_shapes.get(names)
        if shape is None:
            shape = self._learn_read_shape(names)
            _make_room(self._read_shapes)
            self._read_shapes[names] = shape
        return shape

    def _learn_read_shape(self, names: tuple[bytes, ...]) -> _ReadShape:
        texts = [_decode_name(name) for name in names]
        twice = {text for text in texts if texts.count(text) > 1}
        if twice:
            raise InvalidMessage(
                [Fault(0, name, "duplicate", "the name stands twice in one entry") for name in sorted(twice)]
            )
        at = {name: index for index, name in enumerate(names)}
        fields = tuple(
            (text, self._reader(text), index) for index, text in enumerate(texts) if not text.startswith("_")
        )
        absent = self._schema.keys() - {name for name, _, _ in fields}
        return _ReadShape(
            at.get(MID),
            at.get(PATH),
            at.get(ATTEMPT),
            at.get(NULL),
            fields,
            dict.fromkeys(sorted(absent - self._demanded)),
            frozenset(absent & self._demanded),
        )

    def _reader(self, name: str) -> _Read:
        return _READERS[self._schema.get(name, _UNDECLARED).type]

    def _read_faults(self, shape: _ReadShape, values: Sequence[bytes]) -> Iterator[Fault]:
        for name, read, at in shape.fields:
            try:
                read(values[at])
            except UnicodeDecodeError:
                yield Fault(0, name, "bad_unicode", "the value is not UTF-8")
            except (ValueError, KeyError):
                wanted = self._schema.get(name, _UNDECLARED).type
                yield Fault(0, name, "wrong_type", f"{_show(values[at])} does not read as {wanted}")
        for label, place in (
            ("_mid", shape.mid_at),
            ("_path", shape.path_at),
            ("_attempt", shape.attempt_at),
        ):
            if place is not None and not _meta_reads(label, values[place]):
                yield Fault(
                    0,
                    label,
                    "reserved",
                    f"{_show(values[place])} does not read as {label}; the name is reserved",
                )

    def _add_nulls(self, message: dict[str, Any], text: bytes) -> None:
        faults = []
        nulls = _null_names(text)
        for name in nulls:
            if name in message:
                faults.append(Fault(0, name, "duplicate", "the field is null in `_null` and has a value too"))
            elif name in self._demanded:
                faults.append(Fault(0, name, "null", "the field is null and not declared nullable"))
        for name in sorted(self._demanded - message.keys() - set(nulls)):
            faults.append(_missing(name))
        if faults:
            raise InvalidMessage(faults)
        message.update(dict.fromkeys(nulls))


def _table(field: Field) -> Mapping[type, _Write]:
    writers = _WRITERS[field.type]
    return {**writers, NoneType: _write_null} if field.nullable else writers


def _with_nulls(shape: _WriteShape, values: Sequence[bytes | None]) -> list[bytes]:
    fields: list[bytes] = []
    nulls: list[str] = []
    for name, value in zip(shape.names, values, strict=True):
        if value is None:
            nulls.append(name)
        else:
            fields += (name.encode(), value)
    return [*fields, NULL, msgspec.json.encode(nulls)]


def _make_room(shapes: dict[Any, Any]) -> None:
    if len(shapes) >= _MAX_SHAPES:
        shapes.clear()


def _name_fault(name: object) -> tuple[str, str] | None:
    if not isinstance(name, str):
        return "wrong_type", f"a field name is text, not {_kind(name)}"
    if not name:
        return "empty_name", "a field needs a name"
    if name.startswith("_"):
        return "reserved", "names that begin with an underscore are reserved"
    try:
        size = len(name.encode())
    except UnicodeEncodeError:
        return "bad_unicode", "the name holds half of a surrogate pair, which UTF-8 cannot write"
    if size > MAX_NAME_BYTES:
        return "too_long", f"a name of {size} bytes; at most {MAX_NAME_BYTES} are allowed"
    return None


def _plain(value: Any) -> Any:
    """The Python scalar that a numpy or pandas scalar (or an instance of a subclass) stands for; else the value."""
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
    plain = value.astype("datetime64[us]").item() if dtype.kind == "M" else value.item()
    return plain if type(plain) is not type(value) else value


def _show(value: object) -> str:
    text = value.decode(errors="backslashreplace") if isinstance(value, bytes) else str(value)
    text = text.encode(errors="backslashreplace").decode()
    return text if len(text) <= 80 else f"{text[:77]}..."


def _kind(value: object) -> str:
    words = {
        str: "text",
        int: "a whole number",
        float: "a decimal number",
        bool: "true or false",
        NoneType: "null",
        list: "a list",
        tuple: "a list",
    }
    if isinstance(value, Mapping):
        return "an object"
    return words.get(type(value), f"a value of type {type(value).__name__}")


def _decode_name(name: bytes) -> str:
    try:
        return name.decode()
    except UnicodeDecodeError:
        raise InvalidMessage([Fault(0, _show(name), "bad_unicode", "the field name is not UTF-8")]) from None


def _meta_reads(label: str, value: bytes) -> bool:
    try:
        _read_int(value) if label == "_attempt" else value.decode()
    except ValueError:
        return False
    return True


def _null_names(text: bytes) -> list[str]:
    try:
        return msgspec.json.decode(text, type=list[str])
    except (ValueError, RecursionError):
        raise InvalidMessage(
            [Fault(0, "_null", "reserved", "`_null` is not a JSON array of names")]
        ) from None


def _missing(name: str) -> Fault:
    return Fault(0, name, "missing", "the stream declares this field; it must be there")
