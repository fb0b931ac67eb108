"""What messages of chaos have to hold."""

from __future__ import annotations

from typing import Any

import pytest

from dataflow.testing.chaos.content import SENT, difference, made
from dataflow.testing.chaos.tally import Tally

RIGHT = made("grade.stream_in", 1, 7)


def test_what_is_as_it_was_made_does_not_differ_and_texts_stand_for_numbers() -> None:
    assert difference(RIGHT, RIGHT) == ""
    assert difference({name: str(value) for name, value in RIGHT.items()}, RIGHT) == ""


@pytest.mark.parametrize(
    "found",
    [
        {**RIGHT, "twice": 15}, {**RIGHT, "twice": None}, {**RIGHT, "note": RIGHT["note"][:-1]}, {**RIGHT, "more": ""},
        {name: value for name, value in RIGHT.items() if name != "note"}, made("grade.stream_in", 1, 8), {},
    ],
)  # fmt: skip
def test_what_is_other_is_told_and_counted(found: dict[str, Any]) -> None:
    tally = Tally()
    tally.compare((1, 7), "near", RIGHT, RIGHT)
    assert tally.clean
    tally.compare((1, 7), "near", found, RIGHT, 2)
    assert not tally.clean and tally.changes == 2
    assert tally.changed[0][0] == (1, 7) and "where it was made" in tally.changed[0][1]
    assert tally.line(0) == "chaos: kills=0 accepted=0 delivered=0 dead=0 lost=0 duplicates=0"


def test_what_is_sent_differs_from_message_to_message() -> None:
    sent = [str(made(SENT, client, n)) for client in range(2) for n in range(100)]
    assert len(set(sent)) == 200
