"""What becomes of a message that failed: a table of decisions."""

from __future__ import annotations

import math

import pytest

from dataflow.errors import Fault, InvalidMessage
from dataflow.handler import Reject, Retry
from dataflow.store.outcomes import Dead, Park
from workers.fate import (
    ERROR_CHARS,
    BadOutput,
    Crashed,
    after_failure,
    backoff_s,
    described,
    failing_since_ms,
    named,
    told,
)

NOW_MS = 1_000_000
NEVER = math.inf


class Mute(Exception):
    """An error that cannot even say what it is."""

    def __str__(self) -> str:
        raise RuntimeError("no words")

    __repr__ = __str__


@pytest.mark.parametrize(
    ("attempt", "seconds"), [(-3, 0.0625), (0, 0.5), (1, 1.0), (2, 2.0), (5, 16.0), (7, 60.0), (10**9, 60.0)]
)
def test_back_off_doubles_up_to_a_minute(attempt: int, seconds: float) -> None:
    assert backoff_s(attempt) == seconds


@pytest.mark.parametrize(
    ("error", "attempt", "fate"),
    [
        (ValueError("x"), 1, Park(NOW_MS + 1000, 1)),
        (ValueError("x"), 2, Park(NOW_MS + 2000, 2)),
        (Crashed(), 2, Park(NOW_MS + 2000, 2)),
        (SystemExit(1), 1, Park(NOW_MS + 1000, 1)),
        (KeyboardInterrupt(), 1, Park(NOW_MS + 1000, 1)),
        (Retry(2.5), 1, Park(NOW_MS + 2500, 0)),
        (Retry(0), 3, Park(NOW_MS, 2)),
        (Retry(float("inf")), 1, Park(NOW_MS + 366 * 86_400_000, 0)),
        (Reject("no"), 1, Dead("rejected", "no", 1)),
        (Reject(), 1, Dead("rejected", "the handler rejected the message", 1)),
        (BadOutput("x"), 1, Dead("bad_output", "x", 1)),
        (Crashed(), 3, Dead("crashed", "the process died or ran out of time while handling it, 3 times", 3)),
    ],
)
def test_the_class_of_the_error_decides(error: BaseException, attempt: int, fate: Dead | Park) -> None:
    assert after_failure(error, attempt, 3, NOW_MS, 10**15) == fate


def test_an_undecodable_message_is_dead_at_once() -> None:
    fate = after_failure(InvalidMessage([Fault(0, "n", "wrong_type", "not an int")]), 1, 5, NOW_MS, NEVER)
    assert fate == Dead("invalid", "message 0, field 'n': not an int", 1)


def test_the_last_attempt_is_kept_with_its_traceback() -> None:
    def breaks() -> None:
        raise ValueError("the reason")

    try:
        breaks()
    except ValueError as error:
        fate = after_failure(error, 3, 3, NOW_MS, NEVER)
    assert isinstance(fate, Dead)
    assert (fate.reason, fate.attempts) == ("failed", 3)
    assert "in breaks" in fate.error
    assert fate.error.endswith("ValueError: the reason")


def test_one_attempt_means_dead_at_the_first_failure() -> None:
    assert isinstance(after_failure(ValueError(), 1, 1, NOW_MS, NEVER), Dead)


def test_a_retry_is_never_the_last() -> None:
    assert after_failure(Retry(1), 99, 3, NOW_MS, 10**15) == Park(NOW_MS + 1000, 98)


@pytest.mark.parametrize(
    ("after_s", "until_ms", "fate"),
    [
        (1, NOW_MS + 5000, Park(NOW_MS + 1000, 0)),
        (60, NOW_MS + 5000, Park(NOW_MS + 5000, 0)),
        (1, NOW_MS + 1, Park(NOW_MS + 1, 0)),
        (1, NOW_MS, Dead("retried_too_long", "Retry for longer than max_retry_s allows: Retry: away", 1)),
        (0, NOW_MS - 1, Dead("retried_too_long", "Retry for longer than max_retry_s allows: Retry: away", 1)),
    ],
)
def test_a_retry_is_heeded_until_its_time_is_over(after_s: float, until_ms: int, fate: Dead | Park) -> None:
    assert after_failure(Retry(after_s, "away"), 1, 3, NOW_MS, until_ms) == fate


def test_its_time_does_not_concern_other_errors() -> None:
    assert after_failure(ValueError("x"), 1, 3, NOW_MS, NOW_MS - 1) == Park(NOW_MS + 1000, 1)


@pytest.mark.parametrize(
    ("fields", "since_ms"),
    [([], NOW_MS), ([b"n", b"1", b"_since", b"7"], 7), ([b"_since", b"x"], NOW_MS), ([b"n", b"_since"], NOW_MS)],
)
def test_since_when_a_message_fails(fields: list[bytes], since_ms: int) -> None:
    assert failing_since_ms(fields, NOW_MS) == since_ms


@pytest.mark.parametrize("seconds", [-1, float("nan")])
def test_a_retry_into_the_past_is_refused(seconds: float) -> None:
    with pytest.raises(ValueError, match="0 or more"):
        Retry(seconds)


@pytest.mark.parametrize("error", [Mute(), ValueError("\ud800"), ValueError("x" * 10**6), Reject("y" * 10**6)])
def test_whatever_is_raised_can_be_written_down(error: Exception) -> None:
    for fate in (after_failure(error, 1, 1, NOW_MS, NEVER), after_failure(Reject(error), 1, 1, NOW_MS, NEVER)):
        assert isinstance(fate, Dead)
        assert 0 < len(fate.error.encode()) < ERROR_CHARS + 2000
    assert named(error).encode()
    assert told(error).encode()
    assert described(error).encode()


def test_a_name_is_one_line() -> None:
    assert named(ValueError("first\nsecond")) == "ValueError: first"


def test_passwords_of_addresses_are_hidden_in_what_is_kept_of_an_error() -> None:
    text = described(ConnectionError("cannot reach redis://main:hunter2@h:1/0 nor redis://:hunter2@h"))
    assert "hunter2" not in text and "redis://main:***@h:1/0" in text
