"""When a task is due: the three forms, what is refused, and days of 23 and 25 hours."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from dataflow.schedule import BadSchedule, trigger, zone

BERLIN = {"timezone": "Europe/Berlin"}


def nested(deep: int) -> list[Any]:
    """A list in a list in a list."""
    found: list[Any] = []
    for _ in range(deep):
        found = [found]
    return found


def due(schedule: Mapping[str, Any], now: str, n: int, **bounds: str) -> list[str]:
    """The first `n` times, in the schedule's zone."""
    made, at, before, found = trigger(schedule, "UTC", **bounds), datetime.fromisoformat(now), None, []
    for _ in range(n):
        before = made.get_next_fire_time(before, at)
        if before is None:
            break
        found.append(before.isoformat())
        at = before.astimezone(UTC) + timedelta(microseconds=1)
    return found


@pytest.mark.parametrize(
    ("schedule", "times"),
    [
        ({"second": "*/30"}, ["12:00:30", "12:01:00"]),
        ({"second": 5, "minute": None, "hour": None}, ["12:00:05", "12:01:05"]),
        ({"minute": 15}, ["12:15:00", "13:15:00"]),
        ({"hour": "13-14", "minute": 0}, ["13:00:00", "14:00:00"]),
        ({"interval": {"minutes": 5, "start_date": "2026-01-05 00:00:00"}}, ["12:05:00", "12:10:00"]),
        ({"date": "2026-01-05 18:00:00"}, ["18:00:00"]),
        ({"date": {"run_date": "2026-01-05 18:00:00"}}, ["18:00:00"]),
        ({"date": "2026-01-04 18:00:00"}, ["2026-01-04T18:00:00"]),
    ],
)
def test_each_form_is_due(schedule: dict[str, Any], times: list[str]) -> None:
    expected = [time if "T" in time else f"2026-01-05T{time}" for time in times]
    assert due(schedule, "2026-01-05T12:00:01+00:00", 2) == [f"{time}+00:00" for time in expected]


def test_bounds_stand_beside_the_schedule_or_in_it() -> None:
    bounds = {"start": "2026-01-05 13:00:00", "end": "2026-01-05 14:00:00"}
    inside = {"start_date": "2026-01-05 13:00:00", "end_date": "2026-01-05 14:00:00"}
    expected = ["2026-01-05T13:30:00+00:00"]
    assert due({"minute": 30}, "2026-01-05T12:00:00+00:00", 9, **bounds) == expected
    assert due({"minute": 30, **inside}, "2026-01-05T12:00:00+00:00", 9) == expected


@pytest.mark.parametrize(
    ("schedule", "now", "times"),
    [
        # the night without 02:30: once, at the same instant, which the clocks call 03:30
        ({"hour": 2, "minute": 30}, "2026-03-29T00:00:00+01:00",
         ["2026-03-29T02:30:00+01:00", "2026-03-30T02:30:00+02:00"]),
        # the night with two of them: twice
        (
            {"hour": 2, "minute": 30},
            "2026-10-25T00:00:00+02:00",
            ["2026-10-25T02:30:00+02:00", "2026-10-25T02:30:00+01:00", "2026-10-26T02:30:00+01:00"],
        ),
        # what is due more often goes on evenly
        (
            {"minute": "*/30"},
            "2026-03-29T01:15:00+01:00",
            ["2026-03-29T01:30:00+01:00", "2026-03-29T03:00:00+02:00", "2026-03-29T03:30:00+02:00"],
        ),
        (
            {"minute": "*/30"},
            "2026-10-25T01:45:00+02:00",
            ["2026-10-25T02:00:00+02:00", "2026-10-25T02:30:00+02:00", "2026-10-25T02:00:00+01:00"],
        ),
    ],
)  # fmt: skip
def test_days_of_23_and_25_hours(schedule: dict[str, Any], now: str, times: list[str]) -> None:
    assert due({**schedule, **BERLIN}, now, len(times)) == times


def test_a_zone_is_the_schedules_own_or_that_of_the_place() -> None:
    now = "2026-01-05T00:00:00+00:00"
    assert due({"hour": 8, "timezone": "Asia/Shanghai"}, now, 1) == ["2026-01-05T08:00:00+08:00"]
    assert due({"date": {"run_date": "2026-01-05 08:00:00", **BERLIN}}, now, 1) == ["2026-01-05T08:00:00+01:00"]
    assert due({"interval": {"hours": 1, "start_date": "2026-01-05 09:00:00"}, **BERLIN}, now, 1) == [
        "2026-01-05T09:00:00+01:00"
    ]


@pytest.mark.parametrize(
    ("schedule", "says"),
    [
        ({}, "names none"),
        ({"timezone": "UTC"}, "names none"),
        ({"secnd": 5}, "secnd"),
        ({"second": 61}, "61"),
        ({"second": "*/0"}, "cannot be used"),
        ({"hour": "x"}, "'x'"),
        ({"second": [1]}, "second must be text or a number, not list"),
        ({"second": nested(5_000)}, "second must be text or a number"),
        ({"second": 5, "timezone": nested(5_000)}, "timezone must be text or a number"),
        ({"interval": {"seconds": nested(5_000)}}, "seconds must be text or a number"),
        ({"interval": nested(5_000)}, "interval must be a mapping, not list"),
        ({"date": nested(5_000)}, "run_date must be text or a number"),
        ({"second": 5, "interval": {"seconds": 5}}, "beside second"),
        ({"interval": {"seconds": 5}, "date": "2026-01-01"}, "beside date"),
        ({"interval": {}}, "length"),
        ({"interval": {"seconds": 0}}, "length"),
        ({"interval": {"seconds": -5}}, "length"),
        ({"interval": {"seconds": "often"}}, "often"),
        ({"interval": 5}, "mapping"),
        ({"interval": {"seconds": 10**30}}, "cannot be used"),
        ({"date": "tomorrow"}, "cannot be used"),
        ({"date": {}}, "run_date"),
        ({"second": 5, "start_date": "soon"}, "cannot be used"),
        ({"second": 5, "end_date": "soon"}, "end_date 'soon' cannot be used"),
        ({"second": "*/5", "start_date": "9999-12-31 23:59:59"}, "start_date '9999-12-31 23:59:59' cannot be used"),
        ({"interval": {"seconds": 5, "start_date": "9999-12-31 23:59:59"}}, "start_date '9999-12-31 23:59:59'"),
        ({"interval": {"weeks": 420_000, "start_date": "2020-01-01 00:00:00"}}, "cannot be used"),
        ({"interval": {"weeks": 420_000, "start_date": "2040-01-01 00:00:00"}}, "cannot be used"),
        ({"date": "9999-12-31 23:59:59.999999"}, "run_date '9999-12-31 23:59:59.999999' cannot be used"),
        ({"date": "9999-01-01 00:00:00"}, "run_date '9999-01-01 00:00:00' cannot be used"),
        ({"year": 9999, "month": 12, "day": 31, "hour": 23, "minute": 59, "second": 59}, "the year 9999"),
        ({"second": 5, "timezone": "Mars/Base"}, "Mars/Base"),
        ({"second": 5, "timezone": "../etc/passwd"}, "passwd"),
        ({"second": 5, "timezone": "Europe"}, "Europe"),
    ],
)
def test_what_cannot_be_followed_is_refused_with_a_reason(schedule: dict[str, Any], says: str) -> None:
    with pytest.raises(BadSchedule) as refused:
        trigger(schedule, "UTC")
    assert says in str(refused.value)


@pytest.mark.parametrize("home", ["UTC", "Asia/Shanghai"])
def test_an_end_that_no_clock_reaches_is_no_end(home: str) -> None:
    made, now = trigger({"second": "*/5"}, home, end="9999-12-31 23:59:59"), datetime(2026, 1, 5, 12, 0, 1, tzinfo=UTC)
    assert made.get_next_fire_time(None, now) == datetime(2026, 1, 5, 12, 0, 5, tzinfo=UTC)


def test_no_zone_is_the_zone_of_the_machine() -> None:
    assert zone("").utcoffset(datetime(2026, 1, 5)) is not None
