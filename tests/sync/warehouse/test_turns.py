"""Who may write now."""

from __future__ import annotations

from threading import Event, Thread

import pytest

from dataflow.errors import Fenced
from sync.warehouse.turns import Turns


def test_a_newer_runner_shuts_older_ones_out() -> None:
    turns = Turns()
    turns.fence("a", 1)
    turns.fence("a", 3)
    turns.fence("a", 3)
    turns.fence("b", 1)
    with pytest.raises(Fenced, match="runner 2 has been overtaken by 3") as fenced:
        turns.fence("a", 2)
    assert fenced.value.epoch == 3


def test_an_overtaken_runner_gets_no_turn() -> None:
    turns = Turns()
    turns.fence("a", 2)
    with pytest.raises(Fenced), turns.turn("t", "a", 1):
        pytest.fail("it had a turn")
    with turns.turn("t", "a", 2):
        pass


def test_who_was_overtaken_while_waiting_gets_no_turn() -> None:
    turns = Turns()
    started, outcome = Event(), []

    def wait() -> None:
        started.set()
        try:
            with turns.turn("t", "a", 1):
                outcome.append("turn")
        except Fenced:
            outcome.append("fenced")

    waiting = Thread(target=wait)
    with turns.turn("t", "b", 1):
        waiting.start()
        assert started.wait(5)
        turns.fence("a", 2)
    waiting.join(5)
    assert outcome == ["fenced"]


def test_tables_do_not_wait_for_each_other() -> None:
    turns = Turns()
    with turns.turn("t", "a", 1), turns.turn("u", "a", 1):
        pass


def test_a_failure_ends_the_turn() -> None:
    turns = Turns()
    with pytest.raises(ZeroDivisionError), turns.turn("t", "a", 1):
        raise ZeroDivisionError
    with turns.turn("t", "a", 1):
        pass
