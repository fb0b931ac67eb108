"""ClickHouse's type names, taken apart. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass

_CALL = re.compile(r"(\w+)(?:\((.*)\))?", re.DOTALL)
_ENUM_ITEM = re.compile(r"'((?:[^'\\]|\\.)*)'\s*=\s*(-?\d+)", re.DOTALL)
_ESCAPED = re.compile(r"\\(.)", re.DOTALL)
_CONTROL = {"n": "\n", "t": "\t", "r": "\r", "b": "\b", "f": "\f", "0": "\0"}


@dataclass(frozen=True, slots=True)
class ColumnType:
    """A type without its wrappings.

    `name` is the bare type (UInt8, DateTime64, ...), `arguments` the text between its parentheses, `nullable`
    whether NULL fits, `text` the whole type as the server writes it.
    """

    text: str
    name: str
    arguments: str
    nullable: bool


def parse(text: str) -> ColumnType:
    """Take a type name apart; Nullable and LowCardinality are wrappings. Any text is taken."""
    name, arguments, nullable = text, "", False
    while True:
        match = _CALL.fullmatch(name)
        if match is None:
            return ColumnType(text, name, "", nullable)
        name, arguments = match[1], match[2] or ""
        if name not in ("Nullable", "LowCardinality"):
            return ColumnType(text, name, arguments, nullable)
        nullable = nullable or name == "Nullable"
        name = arguments


def enum_codes(arguments: str) -> dict[str, int]:
    """The names of an Enum and their numbers."""
    return {_unescaped(name): int(code) for name, code in _ENUM_ITEM.findall(arguments)}


def _unescaped(text: str) -> str:
    return _ESCAPED.sub(lambda match: _CONTROL.get(match[1], match[1]), text)
