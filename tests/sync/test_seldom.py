"""What Celery repeats is logged now and then."""

from __future__ import annotations

import logging

from sync.seldom import EVERY_S, MOST, Seldom


def record(text: str, at_s: float) -> logging.LogRecord:
    """A message of this text and time."""
    made = logging.LogRecord("celery", logging.ERROR, __file__, 1, "%s", (text,), None)
    made.created = at_s
    return made


def test_the_same_message_comes_once_in_a_while() -> None:
    seldom, at_s = Seldom(), 1_800_000_000.0
    seen = [seldom.filter(record("full", at_s + after)) for after in (0, 0.2, EVERY_S - 1, EVERY_S, EVERY_S + 1)]
    assert seen == [True, False, False, True, False]


def test_another_message_comes_at_once() -> None:
    seldom = Seldom()
    assert seldom.filter(record("full", 5.0)) and seldom.filter(record("away", 5.1))


def test_what_it_remembers_is_bounded() -> None:
    seldom = Seldom()
    assert all(seldom.filter(record(str(n), 5.0)) for n in range(3 * MOST))
    assert len(seldom._last) <= MOST
