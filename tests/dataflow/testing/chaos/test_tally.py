"""The count of chaos finds every kind of fault."""

from __future__ import annotations

from collections.abc import Mapping

from dataflow.testing.chaos.tally import MOST_NAMED, Id, Tally

UPSTREAM = {"near": frozenset({"first"}), "far": frozenset({"first", "second"})}


def tally(near: Mapping[int, int], far: Mapping[int, int], dead: Mapping[Id, set[str]] | None = None) -> Tally:
    """Messages 0, 1 and 2 of client 0 were accepted."""
    counted = Tally()
    counted.add(0, range(3), {"near": near, "far": far}, dead or {}, UPSTREAM)
    return counted


def test_every_message_once_in_every_table_is_clean() -> None:
    counted = tally({0: 1, 1: 1, 2: 1}, {0: 1, 1: 1, 2: 1})
    assert counted.clean
    assert counted.line(4) == "chaos: kills=4 accepted=3 delivered=3 dead=0 lost=0 duplicates=0"


def test_a_message_that_one_table_lacks_is_lost() -> None:
    counted = tally({0: 1, 1: 1, 2: 1}, {0: 1, 2: 1})
    assert not counted.clean
    assert counted.line(4) == "chaos: kills=4 accepted=3 delivered=2 dead=0 lost=1 duplicates=0"
    assert counted.lost == [((0, 1), "not in far")]


def test_a_dead_letter_accounts_for_the_tables_beyond_it_only() -> None:
    assert tally({0: 1, 1: 1, 2: 1}, {0: 1, 2: 1}, {(0, 1): {"second"}}).line(0).endswith("dead=1 lost=0 duplicates=0")
    assert tally({0: 1, 2: 1}, {0: 1, 2: 1}, {(0, 1): {"first"}}).clean
    assert tally({0: 1, 2: 1}, {0: 1, 1: 1, 2: 1}, {(0, 1): {"second"}}).losses == 1


def test_a_second_row_is_a_duplicate() -> None:
    counted = tally({0: 1, 1: 3, 2: 1}, {0: 1, 1: 1, 2: 1})
    assert not counted.clean and counted.duplicates == 2
    assert counted.doubled == [((0, 1), "near: 3 rows")]


def test_a_row_beyond_its_own_dead_letter_is_a_duplicate() -> None:
    counted = tally({0: 1, 1: 1, 2: 1}, {0: 1, 1: 1, 2: 1}, {(0, 1): {"second"}})
    assert counted.duplicates == 1 and counted.doubled == [((0, 1), "far: a row, and a dead letter of second")]


def test_a_row_of_a_message_that_was_never_accepted_is_foreign() -> None:
    counted = Tally()
    counted.add_rest(0, {"near": {7: 1}, "far": {}}, range(0))
    assert not counted.clean and counted.strangers == 1


def test_the_rows_of_an_unanswered_request_may_be_there_once() -> None:
    counted = Tally()
    counted.add_rest(0, {"near": {3: 1}, "far": {3: 1}}, range(3, 6))
    assert counted.clean
    counted.add_rest(0, {"near": {3: 2}, "far": {}}, range(3, 6))
    assert counted.duplicates == 1


def test_only_the_first_are_named() -> None:
    counted = Tally()
    counted.add(0, range(500), {"near": {}}, {}, UPSTREAM)
    assert counted.losses == 500 and len(counted.lost) == MOST_NAMED
