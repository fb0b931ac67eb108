"""Encoders of texts: String, FixedString, Enum, UUID, addresses. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from ipaddress import AddressValueError, IPv4Address, IPv6Address
from typing import Any
from uuid import UUID

from sync.sinks.clickhouse.encoder import Encoder, shown
from sync.sinks.clickhouse.types import ColumnType, enum_codes

_UUID = re.compile(rb"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")


def string(_: ColumnType) -> Encoder:
    """String: the bytes as they are."""
    return Encoder(bytes, lambda texts: texts)


def fixed(type_: ColumnType) -> Encoder:
    """FixedString(n): at most n bytes; the server fills up with zero bytes."""
    length = int(type_.arguments)

    def one(text: bytes) -> bytes:
        if len(text) > length:
            raise ValueError(f"{shown(text)} is longer than {length} bytes")
        return text

    def many(texts: Sequence[bytes]) -> Sequence[bytes]:
        if texts and max(map(len, texts)) > length:
            raise ValueError("too long")
        return texts

    return Encoder(one, many)


def enum(type_: ColumnType) -> Encoder:
    """Enum8, Enum16: the number that stands for a name."""
    codes = {name.encode(): code for name, code in enum_codes(type_.arguments).items()}
    names = ", ".join(shown(name) for name in list(codes)[:10]) + (", ..." if len(codes) > 10 else "")

    def one(text: bytes) -> int:
        code = codes.get(text)
        if code is None:
            raise ValueError(f"{shown(text)} is none of {names}")
        return code

    return Encoder(one, lambda texts: list(map(codes.__getitem__, texts)))


def uuid(_: ColumnType) -> Encoder:
    """UUID in its usual form with hyphens."""

    def one(text: bytes) -> UUID:
        if not _UUID.fullmatch(text):
            raise ValueError(f"{shown(text)} is no UUID")
        return UUID(text.decode())

    return _one_by_one(one)


def ipv4(_: ColumnType) -> Encoder:
    """IPv4."""
    return _one_by_one(lambda text: _address(IPv4Address, text))


def ipv6(_: ColumnType) -> Encoder:
    """IPv6; zones are refused."""
    return _one_by_one(lambda text: _address(IPv6Address, text))


def _address(kind: type[IPv4Address] | type[IPv6Address], text: bytes) -> IPv4Address | IPv6Address:
    try:
        if b"%" in text:
            raise AddressValueError("zone")
        return kind(text.decode())
    except ValueError:
        raise ValueError(f"{shown(text)} is no {kind.__name__.removesuffix('Address')} address") from None


def _one_by_one(one: Callable[[bytes], Any]) -> Encoder:
    return Encoder(one, lambda texts: [one(text) for text in texts])
