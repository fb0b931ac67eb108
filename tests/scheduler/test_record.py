"""What follows from a task's runs; the clock is an argument."""

from __future__ import annotations

from dataclasses import replace

import pytest

from scheduler import record as rules
from scheduler.record import GRACE_MS, HISTORY, RESEND_MS, Outcome, Record

NOW = 1_800_000_000_000


def under_way(hint: str = "h", sent_at: int = NOW) -> Record:
    return replace(rules.begun(Record(), NOW, NOW, hint), sent_at=sent_at)


def test_a_run_from_its_tick_to_its_end() -> None:
    begun = rules.begun(Record(), NOW, NOW + 3, "g")
    assert begun.under_way and begun.waits_for_hint and (begun.last_tick, begun.due, begun.runs) == (NOW, NOW, 1)
    ended = rules.ended(rules.sent(begun, "h", NOW + 4), Outcome("empty", facts={"read": 3}), NOW + 9)
    assert not ended.under_way and (ended.done, ended.errors, ended.hint) == (NOW, 0, "")
    assert [(one.tick, one.ended_at, one.state, one.facts) for one in ended.history] == [
        (NOW, NOW + 9, "empty", {"read": 3})
    ]


def test_errors_are_counted_and_the_history_is_bounded() -> None:
    record = Record()
    for n in range(HISTORY + 5):
        record = rules.ended(rules.begun(record, NOW + n, NOW, ""), Outcome("error", f"no {n}"), NOW)
    assert (record.runs, record.errors, len(record.history)) == (HISTORY + 5, HISTORY + 5, HISTORY)
    assert record.history[-1].error == f"no {HISTORY + 4}"


def test_a_run_after_the_clock_was_set_back_is_under_way_too() -> None:
    record = rules.ended(under_way(), Outcome("ok"), NOW)
    assert rules.begun(record, NOW - 3_600_000, NOW - 3_600_000, "").under_way


@pytest.mark.parametrize(
    ("record", "now", "lost"),
    [
        (under_way(), NOW + RESEND_MS - 1, False),
        (under_way(), NOW + RESEND_MS, True),
        (under_way(""), NOW + RESEND_MS, False),
        (under_way(), NOW - 3_600_000, True),
        (Record(), NOW, False),
    ],
    ids=["fresh", "old", "in the scheduler", "clock set back", "none"],
)
def test_a_hint_is_sent_again_when_it_may_be_lost(record: Record, now: int, lost: bool) -> None:
    assert rules.must_resend(record, now) is lost


@pytest.mark.parametrize(
    ("last_tick", "moved"), [(0, False), (NOW, False), (NOW + 60_000, False), (NOW + 60_001, True), (NOW * 2, True)]
)
def test_a_last_tick_far_in_the_future_was_written_by_another_clock(last_tick: int, moved: bool) -> None:
    record = replace(Record(), last_tick=last_tick, due=last_tick, done=last_tick, next_run=last_tick + 5)
    right = rules.rebased(record, NOW)
    assert (right.last_tick, right.due, right.done) == ((NOW, NOW, NOW) if moved else (last_tick,) * 3)


@pytest.mark.parametrize(
    ("next_run", "last_tick", "made_up"),
    [
        (NOW - 1000, 0, True),
        (NOW - GRACE_MS, 0, True),
        (NOW - GRACE_MS - 1, 0, False),
        (NOW + 1, 0, False),
        (NOW - 1000, NOW - 1000, False),
        (0, 0, False),
    ],
)
def test_a_tick_between_two_schedulers_is_made_up_for_once_and_not_too_late(
    next_run: int, last_tick: int, made_up: bool
) -> None:
    record, due = Record(next_run=next_run, last_tick=last_tick), NOW + 5000
    assert rules.first_tick(record, due, NOW, taken_over=True) == (next_run if made_up else due)
    assert rules.first_tick(record, due, NOW, taken_over=False) == due


@pytest.mark.parametrize(
    ("due", "last_tick", "first"),
    [
        (None, 0, None),
        (NOW + 1, 0, NOW + 1),
        (NOW - 1000, 0, NOW - 1000),
        (NOW - 1000, NOW - 1000, None),
        (NOW - GRACE_MS - 1, 0, None),
    ],
    ids=["over", "to come", "a date just passed", "which has fired", "a date long ago"],
)
def test_a_task_begins_with_what_its_schedule_says(due: int | None, last_tick: int, first: int | None) -> None:
    assert rules.first_tick(Record(last_tick=last_tick), due, NOW, taken_over=False) == first


def test_a_run_in_a_scheduler_that_ended_has_ended_with_it() -> None:
    assert rules.interrupted(under_way(""), NOW).history[-1].state == "unknown"
    assert rules.interrupted(under_way("h"), NOW) == under_way("h")
    assert rules.interrupted(Record(), NOW) == Record()


def test_runs_made_while_the_documents_were_away_are_added() -> None:
    stored = replace(rules.ended(under_way(), Outcome("ok"), NOW), runs=7, errors=2, owner="flow")
    own = rules.ended(rules.begun(Record(), NOW + 5, NOW + 5, ""), Outcome("error", "x"), NOW + 6)
    both = rules.merged(stored, own)
    assert (both.runs, both.errors, both.last_tick, both.due, both.done) == (8, 3, NOW + 5, NOW + 5, NOW + 5)
    assert [one.state for one in both.history] == ["ok", "error"] and both.owner == "flow"


def test_a_record_comes_back_as_it_was_written() -> None:
    record = replace(rules.ended(under_way(), Outcome("ok", facts={"a": 1}), NOW), why="w", owner="flow", skipped=3)
    assert Record.of({**record.as_document(), "last_tick": record.last_tick}) == record
    assert "last_tick" not in record.as_document(), "only a tick sets it"


@pytest.mark.parametrize(
    "document", [{}, {"history": "x"}, {"history": [1, {}]}, {"runs": "many", "due": None, "hint": 5}]
)
def test_a_document_may_hold_anything(document: dict[str, object]) -> None:
    assert not Record.of(document).under_way
