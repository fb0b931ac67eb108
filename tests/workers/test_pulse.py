"""Memory shared by a parent and its child."""

from __future__ import annotations

import os
from collections.abc import Callable

import pytest

from workers.pulse import Pulse, Stage


def in_child(step: Callable[[], None]) -> None:
    """Run a step in a forked process and wait for it."""
    pid = os.fork()
    if not pid:
        try:
            step()
        finally:
            os._exit(0)
    os.waitpid(pid, 0)


@pytest.fixture
def pulse() -> Pulse:
    return Pulse(3)


def test_a_fresh_pulse_is_quiet(pulse: Pulse) -> None:
    assert (pulse.stage, pulse.oldest_call_s(), pulse.alone()) == (Stage.SETUP, 0.0, b"")


def test_the_parent_sees_what_the_child_writes(pulse: Pulse) -> None:
    def live() -> None:
        pulse.reach(Stage.PROVEN)
        pulse.begin(2)
        pulse.mark_alone(b"retry/18446744073709551615-18446744073709551615")

    in_child(live)
    assert pulse.stage is Stage.PROVEN
    assert pulse.oldest_call_s() > 0
    assert pulse.alone() == b"retry/18446744073709551615-18446744073709551615"


def test_the_child_sees_that_it_shall_stop(pulse: Pulse) -> None:
    assert not pulse.stop_asked()
    pulse.ask_to_stop()
    answer = Pulse(1)
    in_child(lambda: answer.reach(Stage.READY if pulse.stop_asked() else Stage.SETUP))
    assert answer.stage is Stage.READY


def test_the_oldest_of_the_running_calls_counts(pulse: Pulse, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter([100.0, 107.0, 110.0, 110.0, 110.0])
    monkeypatch.setattr("workers.pulse.time.monotonic", lambda: next(clock))
    pulse.begin(0)
    pulse.begin(1)
    assert pulse.oldest_call_s() == 10.0
    pulse.end(0)
    assert pulse.oldest_call_s() == 3.0
    pulse.end(1)
    assert pulse.oldest_call_s() == 0.0


def test_a_mark_is_replaced_whole(pulse: Pulse) -> None:
    pulse.mark_alone(b"main/1234567890-0")
    pulse.mark_alone(b"main/7-0")
    assert pulse.alone() == b"main/7-0"
    pulse.mark_alone(b"")
    assert pulse.alone() == b""


def test_a_mark_does_not_touch_its_neighbours(pulse: Pulse) -> None:
    pulse.reach(Stage.READY)
    pulse.mark_alone(b"x" * 500)
    assert pulse.stage is Stage.READY
    assert pulse.oldest_call_s() == 0.0
