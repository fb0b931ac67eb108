"""Steps that are due again and again."""

from __future__ import annotations

import pytest

from dataflow.errors import ServerAway
from workers.every import Every


def test_a_step_runs_at_once_and_then_when_it_is_due() -> None:
    ran: list[float] = []
    now = 0.0
    every = Every(lambda: 10.0, lambda: ran.append(now))
    for now in (100.0, 105.0, 109.9, 110.0, 119.0, 120.5):
        every.run(now)
    assert ran == [100.0, 110.0, 120.5]


def test_an_error_is_told_once_and_tried_again_soon(caplog: pytest.LogCaptureFixture) -> None:
    tries: list[float] = []
    now = 0.0

    def step() -> None:
        tries.append(now)
        raise ServerAway("no Redis")

    every = Every(lambda: 10.0, step)
    for now in (100.0, 100.4, 100.6, 101.2):
        every.run(now)
    assert tries == [100.0, 100.6, 101.2]
    assert [record.message for record in caplog.records] == ["no Redis"]


def test_other_errors_come_out() -> None:
    def step() -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        Every(lambda: 10.0, step).run(0.0)
