"""Waiting for what passes."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from dataflow.errors import DataflowError, Fenced, NotDeclared, OutcomeUnknown, ServerAway, ServerFull, StreamFull
from workers.patience import STANDS_STILL_S, Patience

PASSING = [ServerAway(), OutcomeUnknown(), StreamFull("s", 1, 1), ServerFull(), NotDeclared()]


class Story:
    """What a Patience told, and whether it shall stop."""

    def __init__(self) -> None:
        self.told: list[DataflowError | None] = []
        self.stop = False
        self.patience = Patience(lambda: self.stop, self.told.append)


@pytest.fixture
def story(monkeypatch: pytest.MonkeyPatch) -> Story:
    monkeypatch.setattr(time, "sleep", lambda seconds: None)
    return Story()


def failing(times: int, error: Exception) -> Callable[[], str]:
    left = iter(range(times))

    def step() -> str:
        if next(left, None) is not None:
            raise error
        return "done"

    return step


def test_a_step_that_works_says_nothing(story: Story) -> None:
    assert story.patience.until_done(lambda: "done", default="") == "done"
    assert story.told == []


@pytest.mark.parametrize("error", PASSING, ids=lambda error: type(error).__name__)
def test_what_passes_is_waited_for(story: Story, error: DataflowError) -> None:
    assert story.patience.until_done(failing(3, error), default="") == "done"
    assert story.told == [error, error, error, None]


def test_what_does_not_pass_comes_out(story: Story) -> None:
    with pytest.raises(Fenced):
        story.patience.until_done(failing(1, Fenced()), default="")


def test_a_step_is_tried_once_even_when_stopping(story: Story) -> None:
    story.stop = True
    assert story.patience.until_done(lambda: "done", default="given up") == "done"
    assert story.patience.until_done(failing(9, ServerAway()), default="given up") == "given up"
    assert len(story.told) == 1


def test_few_times(story: Story) -> None:
    assert story.patience.few_times(failing(2, ServerAway()), tries=3, default="") == "done"
    assert story.patience.few_times(failing(3, ServerAway()), tries=3, default="given up") == "given up"


def slow(error: DataflowError, calls: list[int]) -> Callable[[], str]:
    """A step that fails only when a second has gone by."""

    def step() -> str:
        calls.append(1)
        until = time.monotonic() + STANDS_STILL_S
        while time.monotonic() < until:
            pass
        raise error

    return step


@pytest.mark.parametrize("error", [ServerAway(), OutcomeUnknown()], ids=lambda error: type(error).__name__)
def test_a_server_that_stands_still_is_not_asked_again_once_told_to_stop(story: Story, error: DataflowError) -> None:
    calls: list[int] = []
    story.stop = True
    assert not story.patience.given_up
    assert story.patience.until_done(slow(error, calls), default="given up") == "given up"
    assert story.patience.given_up and len(calls) == 1
    assert story.patience.few_times(slow(error, calls), tries=3, default="given up") == "given up"
    assert story.patience.until_done(slow(error, calls), default="given up") == "given up"
    assert len(calls) == 1
    story.stop = False
    assert story.patience.until_done(lambda: "done", default="") == "done"
    story.stop = True
    assert not story.patience.given_up, "it has answered since"


def test_a_server_that_refuses_at_once_is_asked_until_the_end(story: Story) -> None:
    story.stop = True
    assert story.patience.until_done(failing(1, ServerAway()), default="given up") == "given up"
    assert story.patience.few_times(failing(2, ServerAway()), tries=3, default="given up") == "done"


def test_a_stop_ends_the_rest() -> None:
    story = Story()

    def step() -> None:
        story.stop = time.monotonic() - start > 0.05
        raise ServerAway

    start = time.monotonic()
    story.patience.until_done(step, default=None)
    assert time.monotonic() - start < 1.0
