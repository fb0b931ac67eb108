"""How many entries a process asks for follows how fast it eats."""

from __future__ import annotations

import pytest

from workers.appetite import Appetite


def test_it_begins_small_and_grows_while_the_handler_is_fast() -> None:
    appetite = Appetite(500)
    counts = [appetite.count]
    for _ in range(10):
        appetite.ate(appetite.count, 0.001)
        counts.append(appetite.count)
    assert counts == [1, 2, 4, 8, 16, 32, 64, 128, 256, 500, 500]


@pytest.mark.parametrize(
    ("messages", "took_s", "count"), [(16, 160.0, 1), (1, 1.0, 1), (8, 1.0, 8), (1, 0.5, 2), (16, 1.0, 16)]
)
def test_a_slow_handler_gets_what_it_can_do_in_a_second(messages: int, took_s: float, count: int) -> None:
    appetite = Appetite(500)
    for _ in range(4):
        appetite.ate(1, 0.0)
    assert appetite.count == 16
    appetite.ate(messages, took_s)
    assert appetite.count == count


def test_every_thread_has_something_to_do() -> None:
    appetite = Appetite(500, least=50)
    appetite.ate(50, 500.0)
    assert appetite.count == 50


def test_never_more_than_the_batch() -> None:
    appetite = Appetite(3, least=50)
    assert appetite.count == 3
    appetite.ate(3, 0.0)
    assert appetite.count == 3


def test_batch_handlers_get_full_batches() -> None:
    appetite = Appetite(500, fixed=True)
    appetite.ate(500, 60.0)
    assert appetite.count == 500


def test_nothing_eaten_changes_nothing() -> None:
    appetite = Appetite(500)
    appetite.ate(0, 5.0)
    assert appetite.count == 1


def test_who_handles_quickly_may_ask_for_the_next_ones_meanwhile() -> None:
    appetite = Appetite(500)
    assert not appetite.quick
    appetite.ate(1, 0.01)
    assert appetite.quick
    appetite.ate(2, 0.2)
    assert not appetite.quick


def test_a_few_that_took_little_time_do_not_make_it_quick() -> None:
    appetite = Appetite(500, fixed=True)
    appetite.ate(500, 0.05)
    assert appetite.quick
    appetite.ate(10, 0.005)
    assert not appetite.quick
    appetite.ate(0, 0.0)
    assert not appetite.quick
