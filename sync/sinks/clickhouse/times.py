"""Encoders of dates and times: ISO 8601, without a zone UTC. A column coarser than the value cuts it. Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime, timedelta
from itertools import repeat
from operator import sub

from sync.sinks.clickhouse.encoder import Encoder, shown
from sync.sinks.clickhouse.types import ColumnType

_DATE_LIMITS = {"Date": (date(1970, 1, 1), date(2149, 6, 6)), "Date32": (date(1900, 1, 1), date(2299, 12, 31))}
_EPOCH = datetime(1970, 1, 1)
_EPOCH_UTC = datetime(1970, 1, 1, tzinfo=UTC)
_DAY_US = 86_400_000_000
_SECOND_US = 1_000_000
_DATETIME64_FIRST = datetime(1900, 1, 1)
_DATETIME64_LAST = datetime(2299, 12, 31, 23, 59, 59, 999_999)
_INT64 = 1 << 63


def day(type_: ColumnType) -> Encoder:
    """Date and Date32 as `date`: the day in UTC."""
    low, high = _DATE_LIMITS[type_.name]

    def one(text: bytes) -> date:
        value = _utc_day(_moment(text))
        if not low <= value <= high:
            raise ValueError(f"{shown(text)} is out of range: {low} ... {high}")
        return value

    def many(texts: Sequence[bytes]) -> Sequence[date]:
        values = [_utc_day(moment) for moment in _moments(texts)]
        if values and not (low <= min(values) and max(values) <= high):
            raise ValueError("out of range")
        return values

    return Encoder(one, many)


def second(_: ColumnType) -> Encoder:
    """DateTime, with or without a zone, as whole seconds since 1970."""
    return _ticks(lambda us: us // _SECOND_US, 0, (1 << 32) - 1, "1970-01-01 ... 2106-02-07 06:28:15")


def fraction(type_: ColumnType) -> Encoder:
    """DateTime64(p), with or without a zone, as ticks of 10**-p seconds since 1970."""
    precision = int(type_.arguments.split(",")[0])
    factor, divisor = int(10 ** max(precision - 6, 0)), int(10 ** max(6 - precision, 0))

    def ticks(us: int) -> int:
        return us * factor // divisor

    low = max(ticks(_microseconds(_DATETIME64_FIRST - _EPOCH)), -_INT64)
    high = min(ticks(_microseconds(_DATETIME64_LAST - _EPOCH)), _INT64 - 1)
    last = "2299-12-31" if precision < 9 else "2262-04-11 23:47:16"
    return _ticks(None if precision == 6 else ticks, low, high, f"1900-01-01 ... {last}")


def _ticks(convert: Callable[[int], int] | None, low: int, high: int, limits: str) -> Encoder:
    """Ticks are what `convert` makes of microseconds, these themselves without it."""

    def one(text: bytes) -> int:
        moment = _moment(text)
        value = _microseconds(moment - (_EPOCH_UTC if moment.tzinfo else _EPOCH))
        value = convert(value) if convert else value
        if not low <= value <= high:
            raise ValueError(f"{shown(text)} is out of range: {limits}")
        return value

    def many(texts: Sequence[bytes]) -> Sequence[int]:
        values = _all_microseconds(_moments(texts))
        if convert:
            values = list(map(convert, values))
        if values and not (low <= min(values) and max(values) <= high):
            raise ValueError("out of range")
        return values

    return Encoder(one, many)


def _moment(text: bytes) -> datetime:
    try:
        return datetime.fromisoformat(text.decode())
    except ValueError:
        raise ValueError(f"{shown(text)} is no ISO 8601 date and time") from None


def _moments(texts: Sequence[bytes]) -> list[datetime]:
    moments = list(map(datetime.fromisoformat, b"\n".join(texts).decode().split("\n"))) if texts else []
    if len(moments) != len(texts):
        raise ValueError("line feeds in values")
    return moments


def _all_microseconds(moments: Sequence[datetime]) -> list[int]:
    if not moments:
        return []
    epoch = _EPOCH_UTC if moments[0].tzinfo else _EPOCH
    try:
        spans = map(sub, moments, repeat(epoch))
        return [span.days * _DAY_US + span.seconds * _SECOND_US + span.microseconds for span in spans]
    except TypeError:
        raise ValueError("some with a zone and some without") from None


def _microseconds(span: timedelta) -> int:
    return span.days * _DAY_US + span.seconds * _SECOND_US + span.microseconds


def _utc_day(moment: datetime) -> date:
    try:
        return (moment.astimezone(UTC) if moment.tzinfo else moment).date()
    except OverflowError:
        raise ValueError(f"{moment.isoformat()} is out of range") from None
