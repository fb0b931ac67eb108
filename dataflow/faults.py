"""Saying what is wrong with a message: every fault with a stable code and a sentence. Pure, not fast.

| code | what is wrong |
|---|---|
| `not_a_dict` | the message is not an object |
| `too_many_fields` | more than 500 fields |
| `empty_name`, `reserved` | a field without a name; a name that begins with `_` |
| `too_long` | a name, a value, a number or the whole message is too long |
| `bad_unicode` | half of a surrogate pair; in an entry: bytes that are not UTF-8 |
| `nested` | a list or an object as a value |
| `wrong_type` | not of the declared type, or of a type that cannot be written |
| `null`, `missing` | a declared field that is not nullable is null, or not there |
| `duplicate` | a name twice in one entry or one JSON object |
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial
from types import NoneType

from dataflow.errors import Fault
from dataflow.flow.spec import Field, Schema
from dataflow.limits import MAX_FIELDS, MAX_MESSAGE_BYTES, MAX_NAME_BYTES, MAX_VALUE_BYTES
from dataflow.masking import mask_urls
from dataflow.scalars import plain, writers

_KINDS: Mapping[type, str] = {
    str: "text",
    int: "a whole number",
    float: "a decimal number",
    bool: "true or false",
    NoneType: "null",
    list: "a list",
    tuple: "a list",
}
_WANTED: Mapping[str, str] = {
    "float": "a number that a double can hold",
    "datetime": "a date and time in ISO 8601, such as 2024-05-01T12:30:00+00:00",
    "json": "valid JSON text",
}

_Wrong = tuple[str, str]
"""Code and text of a fault."""


def find_faults(message: object, index: int, schema: Schema) -> Iterator[Fault]:
    """Everything that is wrong with a message that is about to be written.

    Of a message with too many fields the first 500 are looked at.
    """
    fault = partial(Fault, index)
    if not isinstance(message, Mapping):
        yield fault("", "not_a_dict", f"a message is an object of names and values, not {kind(message)}")
        return
    if len(message) > MAX_FIELDS:
        yield fault("", "too_many_fields", f"{len(message)} fields; at most {MAX_FIELDS} are allowed")
    size = 0
    for name, value in list(message.items())[:MAX_FIELDS]:
        wrong = name_fault(name)
        if wrong:
            yield fault(show(name), *wrong)
            continue
        text, wrong = _try_value(plain(value), schema.get(name))
        if wrong:
            yield fault(name, *wrong)
        size += len(name.encode()) + len(text)
    for name, field in schema.items():
        if name not in message and not field.nullable:
            yield missing(index, name, field)
    if size > MAX_MESSAGE_BYTES:
        yield fault("", "too_long", f"the message takes {size} bytes; at most {MAX_MESSAGE_BYTES} are allowed")


def name_fault(name: object) -> _Wrong | None:
    """What is wrong with a field name, None if nothing."""
    if not isinstance(name, str):
        return "wrong_type", f"a field name is text, not {kind(name)}"
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


def missing(index: int, name: str, field: Field) -> Fault:
    """The fault of a declared field that is not there."""
    return Fault(index, name, "missing", f"the stream declares this field ({field.type}); it must be there")


def show(value: object) -> str:
    """A value in a sentence: printable, at most 80 characters, passwords of addresses hidden."""
    text = value.decode(errors="backslashreplace") if isinstance(value, bytes) else str(value)
    text = mask_urls(text.encode(errors="backslashreplace").decode())
    return text if len(text) <= 80 else f"{text[:77]}..."


def kind(value: object) -> str:
    """What sort of value it is, in words."""
    if isinstance(value, Mapping):
        return "an object"
    return _KINDS.get(type(value), f"a value of type {type(value).__name__}")


def _try_value(value: object, field: Field | None) -> tuple[bytes, _Wrong | None]:
    write = writers(field).get(type(value))
    if write is None:
        return b"", _type_fault(value, field)
    try:
        text = write(value) or b""
    except UnicodeEncodeError:
        return b"", ("bad_unicode", "the text holds half of a surrogate pair, which UTF-8 cannot write")
    except (ValueError, OverflowError):
        return b"", _value_fault(value, field)
    if len(text) > MAX_VALUE_BYTES:
        return b"", ("too_long", f"{len(text)} bytes; at most {MAX_VALUE_BYTES} are allowed")
    return text, None


def _type_fault(value: object, field: Field | None) -> _Wrong:
    if isinstance(value, Mapping | list | tuple | set | frozenset):
        return "nested", f"{kind(value)} inside a message; values are text, numbers, true, false or null"
    if field is None:
        return "wrong_type", f"{kind(value)} cannot be written; values are text, numbers, true, false or null"
    if value is None:
        return "null", f"null is not allowed here; the field is declared {field.type}, not nullable"
    return "wrong_type", f"{show(value)} is {kind(value)}; the field is declared {field.type}"


def _value_fault(value: object, field: Field | None) -> _Wrong:
    declared = "int" if field is None else field.type
    if declared == "int":
        return "too_long", "a whole number of more than 4300 digits"
    return "wrong_type", f"{show(value)} is not {_WANTED.get(declared, declared)}"
