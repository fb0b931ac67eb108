"""Python's collector begins as late as ever, not counting the messages in hand; who has set it has it their way."""

from __future__ import annotations

import gc
from collections.abc import Iterator

import pytest

from workers.garbage import OBJECTS_OF_MESSAGE, Garbage


@pytest.fixture(autouse=True)
def as_it_was() -> Iterator[None]:
    before = gc.get_threshold()
    gc.set_threshold(700, 10, 10)
    yield
    gc.set_threshold(*before)
    gc.enable()


def test_messages_in_hand_are_not_counted() -> None:
    garbage = Garbage()
    for messages in (500, 500, 1, 500, 0):
        garbage.in_hand(messages)
        assert gc.get_threshold() == (700 + messages * OBJECTS_OF_MESSAGE, 10, 10)


def test_a_threshold_of_the_users_is_where_it_begins() -> None:
    gc.set_threshold(50_000, 20, 5)
    Garbage().in_hand(10)
    assert gc.get_threshold() == (50_000 + 10 * OBJECTS_OF_MESSAGE, 20, 5)


def test_one_that_is_set_later_stays() -> None:
    garbage = Garbage()
    garbage.in_hand(10)
    gc.set_threshold(123)
    garbage.in_hand(500)
    assert gc.get_threshold()[0] == 123


def test_a_collector_that_is_switched_off_stays_so() -> None:
    gc.set_threshold(0)
    Garbage().in_hand(500)
    assert gc.get_threshold()[0] == 0
    gc.set_threshold(700)
    gc.disable()
    Garbage().in_hand(500)
    assert not gc.isenabled()
