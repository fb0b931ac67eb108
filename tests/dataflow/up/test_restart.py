"""Pauses between restarts."""

from __future__ import annotations

import pytest

from dataflow.up.restart import Backoff, Restarts, reason

BACKOFF = Backoff(first_s=0.2, most_s=30.0, steady_s=30.0)


def test_pauses_double_up_to_the_most() -> None:
    state, pauses = Restarts(), []
    for _ in range(10):
        state = state.next(ran_s=0.1, backoff=BACKOFF)
        pauses.append(state.pause_s)
    assert pauses == [0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 12.8, 25.6, 30.0, 30.0]
    assert state.count == 10


@pytest.mark.parametrize(("ran_s", "pause_s"), [(29.9, 30.0), (30.0, 0.2), (86400.0, 0.2)])
def test_a_steady_run_starts_the_pauses_afresh_but_not_the_count(ran_s: float, pause_s: float) -> None:
    state = Restarts(count=9, pause_s=25.6).next(ran_s, BACKOFF)
    assert state == Restarts(count=10, pause_s=pause_s)


@pytest.mark.parametrize(
    ("returncode", "line", "text"),
    [
        (2, "dataflow: no module 'water'", "ended with exit code 2: dataflow: no module 'water'"),
        (0, "", "ended with exit code 0"),
        (-9, "", "ended by SIGKILL"),
        (-200, "", "ended by signal 200"),
    ],
)
def test_the_reason_names_exit_code_or_signal_and_the_last_words(returncode: int, line: str, text: str) -> None:
    assert reason(returncode, line) == text
