"""Encoders of numbers: whole, floating, decimal, Bool. Nothing wraps, nothing is cut. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from decimal import MAX_EMAX, MIN_EMIN, Context, Decimal
from typing import Any

import msgspec

from sync.sinks.clickhouse.encoder import Encoder, shown
from sync.sinks.clickhouse.types import ColumnType

BITS: Mapping[str, int] = {f"{sign}Int{bits}": bits for sign in ("", "U") for bits in (8, 16, 32, 64, 128, 256)}
"""The whole-number types and their sizes."""

_WHOLE = re.compile(rb"[+-]?[0-9]{1,90}")
_NUMBER = re.compile(rb"[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]{1,5})?")
_SPECIAL: Mapping[bytes, float] = {
    text: float(text) for text in (b"nan", b"inf", b"-inf", b"+inf", b"infinity", b"-infinity", b"+infinity")
}
_WHITE = (b" ", b"\n", b"\t", b"\r")
_INTS = msgspec.json.Decoder(list[int])
_FLOATS = msgspec.json.Decoder(list[float])
_FLOAT32_LIMIT = 340282356779733661637539395458142568448.0
"""The least number that rounds to infinity as Float32: halfway between the largest one and 2**128."""
_EXACT = Context(prec=1200, Emax=MAX_EMAX, Emin=MIN_EMIN)
_BOOLS: Mapping[bytes, bool] = {b"true": True, b"false": False, b"1": True, b"0": False}
_BITS: Mapping[bytes, int] = {text: int(value) for text, value in _BOOLS.items()}


def whole(type_: ColumnType) -> Encoder:
    """Int8 ... UInt256. Digits, or a number without a fraction (`5.0`, `1e3`); UInt8 takes true and false too."""
    bits, signed = BITS[type_.name], not type_.name.startswith("U")
    low, high = (-(1 << bits - 1), (1 << bits - 1) - 1) if signed else (0, (1 << bits) - 1)
    words = _BITS if type_.name == "UInt8" else {}

    def one(text: bytes) -> int:
        value = words.get(text)
        if value is None:
            value = _whole(text)
        if not low <= value <= high:
            raise ValueError(f"{shown(text)} is out of range: {low} ... {high}")
        return value

    def many(texts: Sequence[bytes]) -> Sequence[int]:
        if words and None not in (flags := list(map(words.get, texts))):
            return flags  # type: ignore[return-value]  # no None among them
        values = _together(_INTS, texts)
        if values and not (low <= min(values) and max(values) <= high):
            raise ValueError("out of range")
        return values

    return Encoder(one, many)


def floating(type_: ColumnType) -> Encoder:
    """Float32 and Float64; nan and the infinities are values, a number too large for the type is not."""
    limit = _FLOAT32_LIMIT if type_.name == "Float32" else float("inf")

    def one(text: bytes) -> float:
        special = _SPECIAL.get(text.lower())
        if special is not None:
            return special
        if text == b"-0":  # a whole number, as `many` reads it: no negative zero
            return 0.0
        if not _NUMBER.fullmatch(text):
            raise ValueError(f"{shown(text)} is no number")
        value = float(text)
        if not -limit < value < limit:
            raise ValueError(f"{shown(text)} is out of range of {type_.name}")
        return value

    def many(texts: Sequence[bytes]) -> Sequence[float]:
        values = _together(_FLOATS, texts)
        if values and not (-limit < min(values) and max(values) < limit):
            raise ValueError("out of range")
        return values

    return Encoder(one, many)


def decimal(type_: ColumnType) -> Encoder:
    """Decimal(P, S): exactly representable numbers only."""
    precision, scale = (int(part) for part in type_.arguments.split(","))

    def one(text: bytes) -> Decimal:
        if not _NUMBER.fullmatch(text) or len(text) > 1000:
            raise ValueError(f"{shown(text)} is no decimal number")
        value = Decimal(text.decode())
        if value and value.adjusted() >= precision - scale:
            raise ValueError(f"{shown(text)} has more than {precision - scale} digits before the point")
        fitted = value.quantize(Decimal((0, (1,), -scale)), context=_EXACT)
        if fitted != value:
            raise ValueError(f"{shown(text)} has more than {scale} digits after the point")
        return fitted

    return Encoder(one, lambda texts: [one(text) for text in texts])


def boolean(_: ColumnType) -> Encoder:
    """Bool: true, false, 1, 0."""

    def one(text: bytes) -> bool:
        value = _BOOLS.get(text)
        if value is None:
            raise ValueError(f"{shown(text)} is neither true nor false")
        return value

    return Encoder(one, lambda texts: list(map(_BOOLS.__getitem__, texts)))


def _whole(text: bytes) -> int:
    if _WHOLE.fullmatch(text):
        return int(text)
    if not _NUMBER.fullmatch(text) or len(text) > 1000:
        raise ValueError(f"{shown(text)} is no whole number")
    value = Decimal(text.decode())
    if value and value.adjusted() > 90:
        raise ValueError(f"{shown(text)} is out of range")
    if value != value.to_integral_value(context=_EXACT):
        raise ValueError(f"{shown(text)} is no whole number")
    return int(value)


def _together(decoder: msgspec.json.Decoder[list[Any]], texts: Sequence[bytes]) -> list[Any]:
    """Read a column as one JSON array: an order faster than value by value.

    A text that is not one plain number makes the array malformed, or too long, or holds white space.
    """
    joined = b",".join(texts)
    if any(white in joined for white in _WHITE):
        raise ValueError("white space")
    values = decoder.decode(b"[" + joined + b"]")
    if len(values) != len(texts):
        raise ValueError("not one number each")
    return values
