"""Texts of a column become values of its type, or a reason why not."""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from ipaddress import IPv4Address, IPv6Address
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sync.sinks.clickhouse.encoder import shown
from sync.sinks.clickhouse.encoders import ENCODERS, can_encode, encoder
from sync.sinks.clickhouse.types import parse

BERLIN = "DateTime64(3, 'Europe/Berlin')"
ENUM = "Enum8('low' = -1, 'it\\'s' = 2)"


def one(type_: str, text: bytes) -> Any:
    return encoder(parse(type_)).one(text)


GOOD: list[tuple[str, bytes, Any]] = [
    ("UInt8", b"0", 0),
    ("UInt8", b"255", 255),
    ("UInt8", b"true", 1),
    ("UInt8", b"false", 0),
    ("UInt8", b"-0", 0),
    ("UInt8", b"007", 7),
    ("UInt8", b"+7", 7),
    ("UInt8", b"5.0", 5),
    ("UInt8", b"2e2", 200),
    ("Int8", b"-128", -128),
    ("Int64", b"-9223372036854775808", -(2**63)),
    ("Int64", b"0e99999", 0),
    ("UInt64", b"18446744073709551615", 2**64 - 1),
    ("Int128", b"-170141183460469231731687303715884105728", -(2**127)),
    ("UInt256", str(2**256 - 1).encode(), 2**256 - 1),
    ("Float64", b"0.1", 0.1),
    ("Float64", b"1", 1.0),
    ("Float64", b"1e308", 1e308),
    ("Float64", b"5e-324", 5e-324),
    ("Float64", b"inf", math.inf),
    ("Float64", b"-Infinity", -math.inf),
    ("Float32", b"3.4028234663852886e38", 3.4028234663852886e38),
    ("Decimal(9, 2)", b"-1234567.89", Decimal("-1234567.89")),
    ("Decimal(9, 2)", b"1.50000", Decimal("1.50")),
    ("Decimal(9, 2)", b"1e3", Decimal("1000.00")),
    ("Decimal(9, 2)", b"0e9999", Decimal("0.00")),
    ("Decimal(76, 0)", b"9" * 76, Decimal("9" * 76)),
    ("Bool", b"true", True),
    ("Bool", b"0", False),
    ("Date", b"1970-01-01", date(1970, 1, 1)),
    ("Date", b"2149-06-06T23:59:59", date(2149, 6, 6)),
    ("Date", b"2026-01-31T23:30:00-02:00", date(2026, 2, 1)),
    ("Date32", b"1900-01-01", date(1900, 1, 1)),
    ("DateTime", b"1970-01-01T00:00:00", 0),
    ("DateTime", b"2106-02-07 06:28:15.999", 2**32 - 1),
    ("DateTime('Europe/Berlin')", b"2026-01-31T12:00:00+01:00", 1769857200),
    ("DateTime64(6, 'UTC')", b"1969-12-31T23:59:59.999999", -1),
    ("DateTime64(6, 'UTC')", b"2026-01-31T12:00:00Z", 1769860800_000000),
    (BERLIN, b"1969-12-31T23:59:59.9999", -1),
    (BERLIN, b"2299-12-31T23:59:59.999", 10413791999_999),
    ("DateTime64(9)", b"1970-01-01T00:00:00.000001", 1000),
    ("DateTime64(0)", b"1900-01-01", -2208988800),
    ("String", b"\xff\0", b"\xff\0"),
    ("FixedString(2)", b"ab", b"ab"),
    ("LowCardinality(Nullable(String))", b"", b""),
    (ENUM, b"low", -1),
    (ENUM, b"it's", 2),
    ("UUID", b"61F0C404-5CB3-11E7-907B-A6006AD3DBA0", UUID("61f0c404-5cb3-11e7-907b-a6006ad3dba0")),
    ("IPv4", b"10.0.0.1", IPv4Address("10.0.0.1")),
    ("IPv6", b"::1", IPv6Address("::1")),
]


@pytest.mark.parametrize(("type_", "text", "value"), GOOD)
def test_a_text_that_fits_becomes_the_value(type_: str, text: bytes, value: Any) -> None:
    assert one(type_, text) == value


def test_nan_is_a_value() -> None:
    assert math.isnan(one("Float32", b"NaN"))


BAD: list[tuple[str, bytes, str]] = [
    ("UInt8", b"256", "out of range: 0 ... 255"),
    ("UInt8", b"300", "out of range"),
    ("UInt8", b"-1", "out of range"),
    ("UInt8", b"5.5", "no whole number"),
    ("UInt8", b"1_0", "no whole number"),
    ("UInt8", b" 5", "no whole number"),
    ("UInt8", b"", "no whole number"),
    ("UInt8", b"0x10", "no whole number"),
    ("UInt8", "٣".encode(), "no whole number"),
    ("Int8", b"true", "no whole number"),
    ("Int64", b"9223372036854775808", "out of range"),
    ("Int64", b"1e99999", "out of range"),
    ("Int64", b"1e-99999", "no whole number"),
    ("Int64", b"9" * 5000, "no whole number"),
    ("Float64", b"1e309", "out of range of Float64"),
    ("Float64", b"1_0.0", "no number"),
    ("Float64", b"true", "no number"),
    ("Float64", b"", "no number"),
    ("Float32", b"3.5e38", "out of range of Float32"),
    ("Float32", b"-1e300", "out of range of Float32"),
    ("Decimal(9, 2)", b"12345678", "more than 7 digits before the point"),
    ("Decimal(9, 2)", b"1.005", "more than 2 digits after the point"),
    ("Decimal(9, 2)", b"1e99999", "more than 7 digits"),
    ("Decimal(9, 2)", b"1e-99999", "more than 2 digits"),
    ("Decimal(9, 2)", b"nan", "no decimal number"),
    ("Bool", b"True", "neither true nor false"),
    ("Bool", b"2", "neither true nor false"),
    ("Date", b"1969-12-31", "out of range"),
    ("Date", b"2149-06-07", "out of range"),
    ("Date", b"31.01.2026", "no ISO 8601"),
    ("Date", b"0001-01-01T00:00:00+14:00", "out of range"),
    ("Date32", b"2300-01-01", "out of range"),
    ("DateTime", b"1969-12-31T23:59:59", "out of range"),
    ("DateTime", b"2106-02-07T06:28:16", "out of range"),
    ("DateTime", b"1769860800", "no ISO 8601"),
    ("DateTime", b"now", "no ISO 8601"),
    ("DateTime", b"\xff", "no ISO 8601"),
    ("DateTime64(3)", b"1899-12-31T23:59:59", "out of range"),
    ("DateTime64(9)", b"2263-01-01", "out of range"),
    ("FixedString(2)", b"abc", "longer than 2 bytes"),
    (ENUM, b"high", "none of 'low', \"it's\""),
    (ENUM, b"1", "none of"),
    ("UUID", b"61f0c4045cb311e7907ba6006ad3dba0", "no UUID"),
    ("IPv4", b"10.0.0.256", "no IPv4 address"),
    ("IPv6", b"fe80::1%eth0", "no IPv6 address"),
]


@pytest.mark.parametrize(("type_", "text", "reason"), BAD)
def test_a_text_that_does_not_fit_is_refused_with_the_reason(type_: str, text: bytes, reason: str) -> None:
    with pytest.raises(ValueError, match=r".*") as refused:
        one(type_, text)
    assert reason in str(refused.value)
    assert len(str(refused.value)) < 250


def test_a_long_value_is_cut_in_the_reason() -> None:
    assert shown(b"x" * 1000) == repr("x" * 60) + "..."
    assert shown(b"\xff\n") == r"'\\xff\n'"


@pytest.mark.parametrize("type_", ["Array(UInt8)", "Map(String, String)", "JSON", "Tuple(a UInt8)", "Nothing"])
def test_other_types_are_not_known(type_: str) -> None:
    assert not can_encode(parse(type_))


SAMPLES: dict[str, st.SearchStrategy[str]] = {
    "ints": st.one_of(st.integers(), st.integers(-300, 300)).map(str),
    "floats": st.floats().map(repr),
    "datetimes": st.datetimes().map(datetime.isoformat),
    "zoned": st.datetimes(timezones=st.just(UTC)).map(datetime.isoformat),
    "words": st.sampled_from(["true", "false", "low", "it's", "-0", "-00", "1,2", "", '1","2', "2026-01-31", "1\n2"]),
    "texts": st.text(max_size=5),
    "decimals": st.decimals(allow_nan=False, allow_infinity=False).map(str),
}
TYPES = [
    "UInt8", "Int64", "UInt64", "Int256", "Float32", "Float64", "Decimal(18, 4)", "Bool", "Date", "Date32", "DateTime",
    "DateTime64(0)", "DateTime64(6, 'UTC')", "DateTime64(9)", "String", "FixedString(3)", ENUM, "UUID", "IPv4", "IPv6",
]  # fmt: skip


def test_every_kind_of_type_is_among_them() -> None:
    families = {parse(type_).name.rstrip("0123456789") for type_ in TYPES}
    assert {name.rstrip("0123456789") for name in ENCODERS} <= families


@pytest.mark.parametrize("type_", TYPES)
@settings(deadline=None)
@given(data=st.data())
def test_a_column_at_once_agrees_with_value_by_value(type_: str, data: st.DataObject) -> None:
    sample = data.draw(st.sampled_from(sorted(SAMPLES)))
    texts = [text.encode() for text in data.draw(st.lists(SAMPLES[sample], max_size=6))]
    how = encoder(parse(type_))
    try:
        values: Sequence[Any] = how.many(texts)
    except (ValueError, KeyError, OverflowError):
        return  # then they are looked at one by one
    assert [repr(value) for value in values] == [repr(how.one(text)) for text in texts]


@settings(deadline=None)
@given(st.lists(st.integers(-(2**63), 2**63 - 1), max_size=20))
def test_whole_numbers_are_taken_at_once(numbers: list[int]) -> None:
    assert encoder(parse("Int64")).many([str(number).encode() for number in numbers]) == numbers


@settings(deadline=None)
@given(st.lists(st.floats(allow_nan=False, allow_infinity=False), max_size=20))
def test_floats_are_taken_at_once_and_exactly(numbers: list[float]) -> None:
    assert list(encoder(parse("Float64")).many([repr(number).encode() for number in numbers])) == numbers


@settings(deadline=None)
@given(st.lists(st.datetimes(datetime(1900, 1, 1), datetime(2299, 12, 31)), max_size=20))
def test_times_are_exact_to_the_microsecond(moments: list[datetime]) -> None:
    ticks = encoder(parse("DateTime64(6)")).many([moment.isoformat().encode() for moment in moments])
    assert [datetime(1970, 1, 1) + timedelta(microseconds=tick) for tick in ticks] == moments


@pytest.mark.parametrize("mixed", [[b"2026-01-31T00:00:00", b"2026-01-31T00:00:00Z"]])
def test_times_with_and_without_a_zone_mix(mixed: list[bytes]) -> None:
    how = encoder(parse("DateTime"))
    with pytest.raises(ValueError, match="zone"):
        how.many(mixed)
    assert len({how.one(text) for text in mixed}) == 1


def test_a_column_of_flags_is_read_at_once_and_others_as_before() -> None:
    flags = encoder(parse("UInt8"))
    assert list(flags.many([b"true", b"false", b"1", b"0"])) == [1, 0, 1, 0]
    assert list(flags.many([b"1", b"0", b"7"])) == [1, 0, 7]
    with pytest.raises(ValueError):
        flags.many([b"true", b"7"])
    with pytest.raises(ValueError):
        encoder(parse("Int8")).many([b"true"])
