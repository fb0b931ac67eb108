"""When a child that has ended is started again."""

from __future__ import annotations

import pytest

from workers.pulse import Stage
from workers.restart import pause_s, reason


def pauses(stage: Stage, n: int) -> list[float]:
    found = [0.0]
    for _ in range(n):
        found.append(pause_s(found[-1], stage))
    return found[1:]


def test_a_setup_that_keeps_failing_is_tried_less_and_less() -> None:
    assert pauses(Stage.SETUP, 11) == [0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 12.8, 25.6, 30.0, 30.0]


def test_a_child_that_died_of_a_message_is_back_soon() -> None:
    assert pauses(Stage.READY, 7) == [0.1, 0.2, 0.4, 0.8, 1.6, 2.0, 2.0]


def test_a_child_that_got_on_is_replaced_at_once() -> None:
    assert pause_s(30.0, Stage.PROVEN) == 0.1


@pytest.mark.parametrize(
    ("code", "text"), [(3, "exit code 3"), (-9, "killed by SIGKILL"), (-250, "killed by signal 250")]
)
def test_reasons_for_people(code: int, text: str) -> None:
    assert reason(code) == text
