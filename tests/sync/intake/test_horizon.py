"""Up to where a collection may be read, with a clock of the test's own."""

from __future__ import annotations

from dataflow.outbox import Position
from sync.intake.horizon import STEPS, Horizon


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def at(number: int) -> Position:
    return Position(number, f"d{number}")


def test_what_was_seen_is_settled_later() -> None:
    clock = Clock()
    horizon = Horizon(5, clock)
    horizon.see(at(1))
    assert (horizon.settled, horizon.left_s) == (None, 5)
    clock.now += 4.9
    horizon.see(at(2))
    assert horizon.settled is None
    clock.now += 0.1
    horizon.see(at(3))
    assert horizon.settled == at(1)
    clock.now += 5
    horizon.see(at(3))
    assert horizon.settled == at(2) or horizon.settled == at(3)
    assert horizon.left_s <= 5


def test_the_end_that_stays_is_settled_in_the_end() -> None:
    clock = Clock()
    horizon = Horizon(5, clock)
    for number in range(100):
        horizon.see(at(number))
        clock.now += 0.01
    clock.now += 5
    horizon.see(at(99))
    clock.now += 5
    horizon.see(at(99))
    assert horizon.settled == at(99)
    assert horizon.left_s == 0


def test_it_remembers_few_moments() -> None:
    clock = Clock()
    horizon = Horizon(5, clock)
    for number in range(10_000):
        horizon.see(at(number))
        clock.now += 0.001
        assert len(horizon._seen) <= STEPS + 1
    assert horizon.settled is not None
    assert 3_000 < horizon.settled.by < 5_001


def test_without_a_time_all_is_settled_at_once() -> None:
    horizon = Horizon(0, Clock())
    horizon.see(None)
    assert horizon.settled is None
    horizon.see(at(1))
    assert horizon.settled == at(1)
