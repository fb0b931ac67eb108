"""The watchdog's judgement, with a clock and a queue of our own."""

from __future__ import annotations

import pytest

from dataflow.errors import ServerAway
from sync.watchdog import PATIENCE_S, Watchdog


class Queue:
    def __init__(self) -> None:
        self.waits = 1
        self.away = False

    def __call__(self) -> int:
        if self.away:
            raise ServerAway
        return self.waits


@pytest.fixture
def queue() -> Queue:
    return Queue()


@pytest.fixture
def dog(queue: Queue) -> Watchdog:
    dog = Watchdog(queue, concurrency=1)
    assert not dog.stuck(-1)  # it has only just begun
    return dog


def test_messages_that_nobody_takes_mean_that_celery_is_stuck(dog: Watchdog) -> None:
    assert [dog.stuck(at) for at in (0.0, PATIENCE_S - 1, PATIENCE_S)] == [False, False, True]


def test_an_empty_queue_means_nothing(dog: Watchdog, queue: Queue) -> None:
    queue.waits = 0
    assert not any(dog.stuck(at) for at in (0.0, PATIENCE_S, 2 * PATIENCE_S))


def test_a_worker_that_has_its_hands_full_is_not_stuck(dog: Watchdog) -> None:
    dog._begun()
    assert not any(dog.stuck(at) for at in (0.0, PATIENCE_S, 2 * PATIENCE_S))
    dog._ended()
    assert [dog.stuck(at) for at in (200.0, 201.0, 201.0 + PATIENCE_S)] == [False, False, True]


def test_each_task_that_ends_is_a_sign_of_life(dog: Watchdog) -> None:
    for at in range(10):
        dog._begun()
        dog._ended()
        assert not dog.stuck(at * PATIENCE_S)


def test_while_the_broker_is_away_nothing_is_held_against_celery(dog: Watchdog, queue: Queue) -> None:
    assert not dog.stuck(0.0)
    queue.away = True
    with pytest.raises(ServerAway):
        dog.stuck(PATIENCE_S)
    queue.away = False
    assert [dog.stuck(at) for at in (2 * PATIENCE_S, 3 * PATIENCE_S - 1, 3 * PATIENCE_S)] == [False, False, True]
