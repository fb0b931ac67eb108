"""When a task runs: cron fields, an interval or a date -> an APScheduler trigger. Pure.

A schedule is a mapping as it stands under `task:` in a flow file and in `interval_para` of a TaskTable document:

| form | example |
|---|---|
| cron fields | `{"hour": 3, "minute": "*/10"}` |
| interval | `{"interval": {"seconds": 5}}` |
| date | `{"date": "2030-01-01 00:00:00"}` or `{"date": {"run_date": ...}}` |

Any form may name its `timezone`. Fields with the value None count as absent.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, tzinfo
from typing import Any, Final, Protocol
from zoneinfo import ZoneInfo

from dataflow.errors import UserError
from dataflow.masking import mask_urls, masked

CRON_FIELDS: Final = ("year", "month", "day", "week", "day_of_week", "hour", "minute", "second")
INTERVAL_FIELDS: Final = ("weeks", "days", "hours", "minutes", "seconds")
BOUNDS: Final = ("start_date", "end_date")
LAST_YEAR: Final = 9998
"""In which a task may begin at the latest: no time after 9999 can be written, in any zone."""


class BadSchedule(UserError):
    """The schedule cannot be used."""


class Trigger(Protocol):
    """Tells when a task is due."""

    def get_next_fire_time(self, previous_fire_time: datetime | None, now: datetime) -> datetime | None:
        """The first time after `previous_fire_time` (None: not before `now`), with its zone; None: never again."""


def zone(name: str) -> tzinfo:
    """The time zone of that name; "" is this machine's own. Raises BadSchedule."""
    if not name:
        from tzlocal import get_localzone

        return get_localzone()
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError):  # OSError: the name of a folder
        raise BadSchedule(f"{name!r} is not a time zone; write one like Europe/Berlin, Asia/Shanghai or UTC") from None


def trigger(schedule: Mapping[str, Any], home: str = "", start: str | None = None, end: str | None = None) -> Trigger:
    """The trigger of a schedule. Reads the clock: the next two times are tried, an interval without start begins now.

    Args:
        schedule: one of the three forms.
        home: zone of a schedule that names none; "" is this machine's own.
        start, end: bounds beside the schedule's own, "YYYY-MM-DD HH:MM:SS" in its zone; None or "" for none.

    Raises BadSchedule, which says what is wrong.
    """
    given = {name: value for name, value in schedule.items() if value is not None}
    bounds = {"start_date": start or None, "end_date": end or None}
    forms = [form for form in ("interval", "date") if form in given]
    others = [name for name in given if name not in (*forms, "timezone")]
    if len(forms) > 1 or (forms and others):
        raise BadSchedule(f"{forms[0]} stands beside {', '.join([*forms[1:], *others])}: a schedule has one form")
    try:
        made = _made(forms[0] if forms else "cron", given, home, bounds)
        _try_out(made)
        return made
    except BadSchedule:
        raise
    except (TypeError, ValueError, ArithmeticError, LookupError) as error:
        raise BadSchedule(f"the schedule {masked(given)} cannot be used: {error}") from None


def _made(form: str, given: Mapping[str, Any], home: str, bounds: Mapping[str, Any]) -> Trigger:
    if form == "cron":
        return _cron(given, home, bounds)
    inner = _inner(form, given)
    return _interval(inner, home, bounds) if form == "interval" else _date(inner, home)


def _try_out(made: Trigger) -> None:
    """Look for its next two times: a clock that cannot be reckoned with shows here, and not when the task is due.

    Raises BadSchedule, and what the trigger raises.
    """
    first = made.get_next_fire_time(None, datetime.now(UTC))
    if first is None:
        return
    if first.year > LAST_YEAR:
        raise BadSchedule(
            f"it is due in the year {first.year} first; {LAST_YEAR} is the last that can be reckoned with"
        )
    made.get_next_fire_time(first, first)


def _inner(form: str, given: Mapping[str, Any]) -> dict[str, Any]:
    inner = given[form]
    fields = {"run_date": inner} if form == "date" and not isinstance(inner, Mapping) else inner
    if not isinstance(fields, Mapping):
        raise BadSchedule(f"{form} must be a mapping, not {type(inner).__name__}")
    beside = {"timezone": given["timezone"]} if "timezone" in given else {}
    return {**beside, **{name: value for name, value in fields.items() if value is not None}}


def _cron(given: Mapping[str, Any], home: str, bounds: Mapping[str, Any]) -> Trigger:
    from apscheduler.triggers.cron import CronTrigger

    _check(given, (*CRON_FIELDS, *BOUNDS), "cron")
    if not any(name in given for name in CRON_FIELDS):
        raise BadSchedule("it names none of " + ", ".join(CRON_FIELDS))
    fields = {name: str(given[name]) for name in CRON_FIELDS if name in given}
    where = _zone(given, home)
    made: Trigger = CronTrigger(**fields, **_bounds(given, bounds, where), timezone=where)
    return made


def _interval(given: Mapping[str, Any], home: str, bounds: Mapping[str, Any]) -> Trigger:
    from apscheduler.triggers.interval import IntervalTrigger

    _check(given, (*INTERVAL_FIELDS, *BOUNDS), "interval")
    lengths = {name: int(given[name]) for name in INTERVAL_FIELDS if name in given}
    if not any(lengths.values()) or min(lengths.values()) < 0:
        raise BadSchedule("an interval needs a length of at least a second")
    where = _zone(given, home)
    made: Trigger = IntervalTrigger(**lengths, **_bounds(given, bounds, where), timezone=where)
    return made


def _date(given: Mapping[str, Any], home: str) -> Trigger:
    from apscheduler.triggers.date import DateTrigger

    _check(given, ("run_date",), "date")
    if "run_date" not in given:
        raise BadSchedule("a date needs run_date")
    where = _zone(given, home)
    made: Trigger = DateTrigger(run_date=_moment("run_date", given["run_date"], where), timezone=where)
    return made


def _bounds(given: Mapping[str, Any], bounds: Mapping[str, Any], where: tzinfo) -> dict[str, datetime | None]:
    """The schedule's own bounds, else those beside it."""
    found = {name: given.get(name, bounds[name]) for name in BOUNDS}
    return {name: None if value is None else _moment(name, value, where) for name, value in found.items()}


def _moment(name: str, value: object, where: tzinfo) -> datetime:
    """A date and time of a schedule, in its zone. Raises BadSchedule, which names it."""
    from apscheduler.util import convert_to_datetime

    shown = mask_urls(repr(str(value)))
    try:
        found: datetime = convert_to_datetime(str(value), where, name)
    except (TypeError, ValueError, OverflowError) as error:
        raise BadSchedule(f"{name} {shown} cannot be used: {error}") from None
    if found.year > LAST_YEAR and name != "end_date":
        raise BadSchedule(f"{name} {shown} cannot be used: {LAST_YEAR} is the last year in which a task may begin")
    return found


def _zone(given: Mapping[str, Any], home: str) -> tzinfo:
    return zone(str(given.get("timezone", home)))


def _check(given: Mapping[str, Any], known: tuple[str, ...], form: str) -> None:
    strange = [name for name in given if name not in (*known, "timezone")]
    if strange:
        raise BadSchedule(f"{', '.join(map(str, strange))} is no field of a {form} schedule; known: {', '.join(known)}")
    for name, value in given.items():
        if isinstance(value, Mapping | list | tuple):
            raise BadSchedule(f"{name} must be text or a number, not {type(value).__name__}")
