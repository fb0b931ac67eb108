"""When a continuous edge runs next: pure decisions."""

from __future__ import annotations

import pytest

from dataflow.store.lane import Waiting
from sync.pace import FULL_S, HELD_S, POLL_S, RETRY_S, Pace, due_in_s


@pytest.mark.parametrize(
    ("waiting", "due_s"),
    [
        (Waiting(0, 0), None),
        (Waiting(1, 0), 1.5),
        (Waiting(99, 500), 1.0),
        (Waiting(100, 0), 0.0),
        (Waiting(1, 1500), 0.0),
        (Waiting(1, 90_000), 0.0),
        (Waiting(0, 0, open=True), 0.0),
        (Waiting(0, 0, fresh=True), 0.0),
    ],
    ids=[
        "nothing",
        "too few",
        "too few, a while ago",
        "enough",
        "old enough",
        "very old",
        "an open batch",
        "never ran",
    ],
)
def test_messages_wait_for_company_but_not_too_long(waiting: Waiting, due_s: float | None) -> None:
    assert due_in_s(waiting, min_batch=100, max_wait_s=1.5) == due_s


def test_without_patience_the_first_message_moves_at_once() -> None:
    assert due_in_s(Waiting(1, 0), min_batch=1, max_wait_s=1.0) == 0.0
    assert due_in_s(Waiting(1, 0), min_batch=100, max_wait_s=0.0) == 0.0


def test_messages_without_an_age_wait_by_our_own_clock() -> None:
    pace, ageless = Pace(), Waiting(3, 0)
    assert [pace.waited_s(3, now) for now in (100.0, 100.5, 101.5)] == [0.0, 0.5, 1.5]
    assert due_in_s(ageless, 100, 1.5, 0.5) == 1.0
    assert due_in_s(ageless, 100, 1.5, 1.5) == 0.0
    pace.after_run("empty", 0.5)
    assert pace.waited_s(3, 102.0) == 0.0, "those that wait now came after the run"
    assert pace.waited_s(0, 103.0) == 0.0
    assert pace.waited_s(1, 104.0) == 0.0, "the ones before are gone"


def test_an_idle_edge_looks_less_and_less_often() -> None:
    pace = Pace()
    waits = [pace.after_look(None) for _ in range(10)]
    assert waits[:3] == [POLL_S[0], POLL_S[0] * 2, POLL_S[0] * 4]
    assert waits[-1] == POLL_S[1]


def test_it_looks_again_in_time_for_what_is_due() -> None:
    pace = Pace(idle=20)
    assert pace.after_look(0.123) == 0.123


def test_work_makes_it_eager_again() -> None:
    pace = Pace(idle=20)
    assert pace.after_run("empty", 0.5) == 0.0
    assert pace.after_look(None) == POLL_S[0]


def test_failures_are_followed_by_longer_and_longer_pauses() -> None:
    pace = Pace()
    waits = [pace.after_run("away", 1.0) for _ in range(20)]
    assert waits[:4] == [0.2, 0.4, 0.8, 1.6]
    assert waits[-1] == RETRY_S[1]


def test_the_pauses_differ_between_runners() -> None:
    assert [Pace().after_run("away", chance) for chance in (0.0, 1.0)] == [RETRY_S[0] / 2, RETRY_S[0]]


def test_a_full_target_is_looked_at_often() -> None:
    pace = Pace()
    assert [pace.after_run("full", 1.0) for _ in range(10)][-1] == FULL_S[1]


@pytest.mark.parametrize("state", ["held", "paused"])
def test_what_is_not_ours_to_mend_is_no_failure(state: str) -> None:
    pace = Pace(failures=2)
    assert pace.after_run(state, 1.0) == HELD_S  # type: ignore[arg-type]
    assert pace.failures == 0


def test_an_alarm_needs_three_failures_in_a_row() -> None:
    pace = Pace()
    alarming = []
    for state in ("away", "away", "empty", "away", "away", "away"):
        pace.after_run(state, 0.5)  # type: ignore[arg-type]
        alarming.append(pace.alarming)
    assert alarming == [False, False, False, False, False, True]
