"""A message as a stream entry: one entry field per message field; any Redis client can read and write it.

A message is a flat dict, field name -> str, int, float, bool or null. How each value is written stands in
`dataflow/scalars.py`, how big a message may be in `dataflow/limits.py`, the codes of faults in
`dataflow/faults.py`.

Names beginning with `_` are ours: `_mid`, `_path` and `_attempt` come first in the entries that we write,
`_null` last. A field of that kind that we do not know is passed over when an entry is read.

With a schema, declared fields come back as the Python types that were sent (an int in a float field: float),
a declared nullable field that is missing comes back as None, and undeclared fields as str or None. Without a
schema every field comes back as str or None.

What is the same for all messages with the same names (the shape) is worked out once and kept, so that a
message costs one look-up and one call per value.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import repeat
from operator import itemgetter
from typing import Any, Final, NamedTuple

import msgspec

from dataflow.errors import Fault, InvalidMessage
from dataflow.faults import find_faults, missing, name_fault, show
from dataflow.flow.spec import Schema
from dataflow.ids import child_id, extend_path, foreign_id, message_id, mid_time_ms, parent_id, request_id
from dataflow.limits import MAX_FIELDS, MAX_MESSAGE_BYTES, MAX_NAME_BYTES, MAX_VALUE_BYTES
from dataflow.scalars import Read, Write, plain, read_column, read_int, reader, write_column, writers

__all__ = [
    "ATTEMPT",
    "MAX_FIELDS",
    "MAX_MESSAGE_BYTES",
    "MAX_NAME_BYTES",
    "MAX_VALUE_BYTES",
    "MID",
    "NULL",
    "PATH",
    "SINCE",
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

MID: Final = b"_mid"
PATH: Final = b"_path"
ATTEMPT: Final = b"_attempt"
SINCE: Final = b"_since"
NULL: Final = b"_null"

_REFUSALS = (LookupError, ValueError, TypeError, OverflowError, AttributeError)
"""What the fast ways raise at anything unusual; the slow ways then say what it is."""

_KEPT_SHAPES = 256
_KEPT_SHAPE_FIELDS = 64


def meta(mid: str, path: str) -> list[bytes]:
    """The fields that every entry of ours begins with; the user's fields follow."""
    return [MID, mid.encode(), PATH, path.encode()]


class Decoded(NamedTuple):
    """An entry as a handler sees it.

    A foreign entry has no `mid` and an empty `path`. `attempt` is 0 where the entry tells none.
    """

    mid: str | None
    path: str
    attempt: int
    message: dict[str, Any]


class DecodedColumns(NamedTuple):
    """Many entries as `Decoded` has one: a column for each of its fields. An entry without `_mid` has "" there."""

    mids: list[str]
    paths: list[str]
    attempts: list[int]
    messages: list[dict[str, Any]]


class _WriteShape(NamedTuple):
    names: tuple[str, ...]
    tables: tuple[Mapping[type, Write], ...]
    blank: list[bytes | None]


class _ReadShape(NamedTuple):
    mid_at: int | None
    path_at: int | None
    attempt_at: int | None
    null_at: int | None
    fields: tuple[tuple[str, Read, int], ...]
    absent: Mapping[str, None]
    lacking: tuple[str, ...]


class Codec:
    """Encodes and decodes the messages of one stream. Holds nothing but caches; threads may share it.

    Args:
        schema: the stream's declared fields; None where it declares none.
    """

    def __init__(self, schema: Schema | None) -> None:
        self._schema: Schema = schema or {}
        self._demanded = frozenset(name for name, field in self._schema.items() if not field.nullable)
        self._write_shapes: dict[tuple[str, ...], _WriteShape] = {}
        self._read_shapes: dict[tuple[bytes, ...], _ReadShape] = {}

    def encode(self, message: Mapping[str, Any]) -> list[bytes]:
        """Write a message as flat entry fields: name, value, name, value, ..., and `_null` last if any null.

        Takes scalars of numpy and pandas too (NaT and NA are null). The caller owns the list and puts `meta`
        before it.

        Raises:
            InvalidMessage: with every fault of the message, at index 0.
        """
        try:
            return self._encode(message)
        except _REFUSALS:
            return self._encode_slowly(message)

    def encode_all(self, messages: Sequence[Any], lead: Sequence[Iterable[bytes]] = ()) -> list[list[bytes]]:
        """Write many messages, each as `encode` does. Much faster than one by one when all have the same names.

        Args:
            lead: what each entry begins with, column by column: for every leading name or value an iterable that gives
                it for each message in turn.

        Raises:
            InvalidMessage: with every fault of every message, by position.
        """
        found = self.encode_alike(messages)
        if found is None:
            return self._encode_each(messages, lead)
        names, columns = found
        body = [part for pair in zip(map(repeat, names), columns, strict=True) for part in pair]
        return list(map(list, zip(*lead, *body, strict=False)))

    def encode_alike(self, messages: Sequence[Any]) -> tuple[list[bytes], list[list[bytes]]] | None:
        """Write many messages that have all the same names: (names, for each the values of all messages).

        None where they are to be written one by one: their names are not the same, one of them holds a null or is at
        fault, or there is just one.
        """
        if len(messages) == 1:
            return None
        try:
            return self._columns(messages)
        except _REFUSALS:
            return None

    def faults(self, message: object, index: int) -> list[Fault]:
        """Everything that is wrong with a message; empty when `encode` takes it.

        Args:
            index: the position to tell in each fault.
        """
        return list(find_faults(message, index, self._schema))

    def decode(self, fields: Sequence[bytes]) -> Decoded:
        """Read an entry's flat fields, ours or a foreign writer's, in any order. The caller owns the message.

        Raises:
            InvalidMessage: bytes that are not UTF-8, a value that is not of its declared type, a declared
                field missing, or null without being nullable, a name twice. The caller makes a dead letter of
                the entry.
        """
        shape = self._read_shape(tuple(fields[::2]))
        values = fields[1::2]
        try:
            message = {name: read(values[at]) for name, read, at in shape.fields}
            mid = None if shape.mid_at is None else values[shape.mid_at].decode()
            path = "" if shape.path_at is None else values[shape.path_at].decode()
            attempt = 0 if shape.attempt_at is None else read_int(values[shape.attempt_at])
        except (ValueError, KeyError):
            raise InvalidMessage(list(self._read_faults(shape, values))) from None
        if shape.absent:
            message = {**shape.absent, **message}
        if shape.null_at is not None:
            self._add_nulls(message, shape, values[shape.null_at])
        elif shape.lacking:
            raise InvalidMessage([missing(0, name, self._schema[name]) for name in shape.lacking])
        return Decoded(mid or None, path, attempt, message)

    def decode_all(self, rows: Sequence[Sequence[bytes]]) -> DecodedColumns | None:
        """Read many entries as `decode` does, several times faster. None where they must be read one by one.

        That is: when they have not all the same names in the same order, hold nulls or line breaks, or one of them is
        at fault.
        """
        try:
            return self._decode_alike(rows)
        except (*_REFUSALS, InvalidMessage):
            return None

    def _decode_alike(self, rows: Sequence[Sequence[bytes]]) -> DecodedColumns:
        """Column by column; any entry that is not like the others, or unusual, makes it raise."""
        columns = list(zip(*rows, strict=True))
        names = tuple(column[0] for column in columns[::2])
        if any(column.count(name) < len(rows) for name, column in zip(names, columns[::2], strict=True)):
            raise ValueError("other names")
        shape = self._read_shape(names)
        if shape.null_at is not None or shape.lacking or shape.absent:
            raise ValueError("nulls")
        values = columns[1::2]
        wanted = tuple(name for name, _, _ in shape.fields)
        found = [read_column(self._schema.get(name), values[at]) for name, _, at in shape.fields]
        n = len(rows)
        return DecodedColumns(
            [""] * n if shape.mid_at is None else read_column(None, values[shape.mid_at]),
            [""] * n if shape.path_at is None else read_column(None, values[shape.path_at]),
            [0] * n if shape.attempt_at is None else list(map(read_int, values[shape.attempt_at])),
            _messages(wanted, found, n),
        )

    def _columns(self, messages: Sequence[Any]) -> tuple[list[bytes], list[list[bytes]]]:
        """The same; any message that is not like the others makes it raise."""
        (names,) = set(map(tuple, messages))
        if not names:
            raise ValueError("no columns")
        shape = self._write_shapes.get(names) or self._learn_write_shape(names)
        columns = [
            write_column(table, list(map(itemgetter(name), messages)))
            for name, table in zip(names, shape.tables, strict=True)
        ]
        labels: list[bytes] = shape.blank[::2]  # type: ignore[assignment]  # names are never None
        room = MAX_MESSAGE_BYTES - sum(map(len, labels))
        if any(size > room for size in _row_sizes(columns)):
            raise ValueError("too long")
        return labels, columns

    def _encode_each(self, messages: Sequence[Any], lead: Sequence[Iterable[bytes]]) -> list[list[bytes]]:
        heads: Iterable[tuple[bytes, ...]] = zip(*lead, strict=False) if lead else repeat(())
        try:
            return [[*head, *self.encode(message)] for head, message in zip(heads, messages, strict=False)]
        except InvalidMessage:
            raise InvalidMessage(
                [fault for i, message in enumerate(messages) for fault in self.faults(message, i)]
            ) from None

    def _encode(self, message: Mapping[str, Any]) -> list[bytes]:
        names = tuple(message)
        shape = self._write_shapes.get(names) or self._learn_write_shape(names)
        pairs = zip(shape.tables, message.values(), strict=True)
        values = [table[type(value)](value) for table, value in pairs]
        fields = shape.blank.copy()
        fields[1::2] = values
        whole = _move_nulls(fields) if None in values else fields
        if sum(map(len, whole)) > MAX_MESSAGE_BYTES:  # type: ignore[arg-type]
            raise ValueError("too long")
        return whole  # type: ignore[return-value]

    def _encode_slowly(self, message: Mapping[str, Any]) -> list[bytes]:
        faults = self.faults(message, 0)
        if faults:
            raise InvalidMessage(faults)
        return self._encode({str(name): plain(value) for name, value in message.items()})

    def _learn_write_shape(self, names: tuple[str, ...]) -> _WriteShape:
        if len(names) > MAX_FIELDS or not self._demanded.issubset(names):
            raise ValueError("too many names, or some missing")
        if any(type(name) is not str or name_fault(name) for name in names):
            raise ValueError("a name that does not fit")
        blank = [part for name in names for part in (name.encode(), None)]
        shape = _WriteShape(names, tuple(writers(self._schema.get(name)) for name in names), blank)
        _keep(self._write_shapes, names, shape)
        return shape

    def _read_shape(self, names: tuple[bytes, ...]) -> _ReadShape:
        return self._read_shapes.get(names) or self._learn_read_shape(names)

    def _learn_read_shape(self, names: tuple[bytes, ...]) -> _ReadShape:
        texts = [_read_name(name) for name in names]
        _refuse_twice(texts)
        place = {name: index for index, name in enumerate(texts)}
        fields = tuple(
            (name, reader(self._schema.get(name)), index) for name, index in place.items() if name[:1] != "_"
        )
        absent = [name for name in self._schema if name not in place]
        shape = _ReadShape(
            mid_at=place.get("_mid"),
            path_at=place.get("_path"),
            attempt_at=place.get("_attempt"),
            null_at=place.get("_null"),
            fields=fields,
            absent=dict.fromkeys(name for name in absent if name not in self._demanded),
            lacking=tuple(name for name in absent if name in self._demanded),
        )
        _keep(self._read_shapes, names, shape)
        return shape

    def _add_nulls(self, message: dict[str, Any], shape: _ReadShape, text: bytes) -> None:
        nulls = _read_nulls(text)
        faults = [fault for name in nulls if (fault := self._null_fault(name, message))]
        faults += [missing(0, name, self._schema[name]) for name in shape.lacking if name not in nulls]
        if faults:
            raise InvalidMessage(faults)
        message.update(dict.fromkeys(nulls))

    def _null_fault(self, name: str, message: Mapping[str, Any]) -> Fault | None:
        if name.startswith("_"):
            return Fault(0, name, "reserved", "names that begin with an underscore are reserved")
        if message.get(name) is not None:
            return Fault(0, name, "duplicate", "the field is null in `_null` and has a value too")
        if name in self._demanded:
            return Fault(0, name, "null", "the field is null and not declared nullable")
        return None

    def _read_faults(self, shape: _ReadShape, values: Sequence[bytes]) -> Iterator[Fault]:
        for name, read, at in shape.fields:
            try:
                read(values[at])
            except UnicodeDecodeError:
                yield Fault(0, name, "bad_unicode", "the value is not UTF-8")
            except (ValueError, KeyError):
                wanted = self._schema[name].type
                yield Fault(0, name, "wrong_type", f"{show(values[at])} does not read as {wanted}")
        places = (("_mid", shape.mid_at), ("_path", shape.path_at), ("_attempt", shape.attempt_at))
        for name, place in places:
            if place is not None and not _reads_as_meta(name, values[place]):
                yield Fault(0, name, "reserved", f"{show(values[place])} is not what this field of ours holds")


def _messages(names: Sequence[str], columns: Sequence[Sequence[Any]], n: int) -> list[dict[str, Any]]:
    """The dicts that n messages of these names are."""
    blank = dict.fromkeys(names)
    messages: list[dict[str, Any]] = [blank.copy() for _ in range(n)]
    for name, column in zip(names, columns, strict=True):
        for message, value in zip(messages, column, strict=True):
            message[name] = value
    return messages


def _row_sizes(columns: Sequence[Sequence[bytes]]) -> Iterable[int]:
    """How many bytes the values of each message take; one sum for all where that is small enough."""
    total = sum(len(b"".join(column)) for column in columns)
    if total <= MAX_MESSAGE_BYTES // 2:
        return (total,)
    return map(sum, zip(*(map(len, column) for column in columns), strict=True))


def _keep(shapes: dict[Any, Any], names: tuple[Any, ...], shape: object) -> None:
    if len(names) > _KEPT_SHAPE_FIELDS:
        return
    if len(shapes) >= _KEPT_SHAPES:
        shapes.clear()
    shapes[names] = shape


def _move_nulls(fields: list[bytes | None]) -> list[bytes | None]:
    pairs = list(zip(fields[::2], fields[1::2], strict=True))
    kept = [part for name, value in pairs if value is not None for part in (name, value)]
    nulls = [name.decode() for name, value in pairs if name is not None and value is None]
    return [*kept, NULL, msgspec.json.encode(nulls)]


def _read_name(name: bytes) -> str:
    try:
        return name.decode()
    except UnicodeDecodeError:
        raise InvalidMessage([Fault(0, show(name), "bad_unicode", "the field name is not UTF-8")]) from None


def _refuse_twice(names: Sequence[str]) -> None:
    if len(set(names)) == len(names):
        return
    twice = sorted({name for name in names if names.count(name) > 1})
    raise InvalidMessage([Fault(0, name, "duplicate", "the name stands twice in one entry") for name in twice])


def _reads_as_meta(name: str, value: bytes) -> bool:
    try:
        read_int(value) if name == "_attempt" else value.decode()
    except ValueError:
        return False
    return True


def _read_nulls(text: bytes) -> list[str]:
    try:
        return msgspec.json.decode(text, type=list[str])
    except (ValueError, RecursionError):
        raise InvalidMessage([Fault(0, "_null", "reserved", "`_null` holds no JSON array of names")]) from None
