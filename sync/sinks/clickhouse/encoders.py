"""Which encoder a column has. A new type is one entry here. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from sync.sinks.clickhouse import numbers, texts, times
from sync.sinks.clickhouse.encoder import Encoder
from sync.sinks.clickhouse.types import ColumnType

ENCODERS: Mapping[str, Callable[[ColumnType], Encoder]] = {
    **dict.fromkeys(numbers.BITS, numbers.whole),
    "Float32": numbers.floating,
    "Float64": numbers.floating,
    "Decimal": numbers.decimal,
    "Bool": numbers.boolean,
    "Date": times.day,
    "Date32": times.day,
    "DateTime": times.second,
    "DateTime64": times.fraction,
    "String": texts.string,
    "FixedString": texts.fixed,
    "Enum8": texts.enum,
    "Enum16": texts.enum,
    "UUID": texts.uuid,
    "IPv4": texts.ipv4,
    "IPv6": texts.ipv6,
}
"""Bare type name -> what makes its encoder."""


def can_encode(type_: ColumnType) -> bool:
    """Whether values of this type can be written at all."""
    return type_.name in ENCODERS


def encoder(type_: ColumnType) -> Encoder:
    """The encoder of a type. Raises KeyError where `can_encode` says no."""
    return ENCODERS[type_.name](type_)
