"""Messages as scripts take them."""

from __future__ import annotations

import pytest

from dataflow.store.packing import _packed_each, packed, packed_columns


def test_names_stand_once_and_runs_are_counted() -> None:
    messages = [(0, [b"a", b"1", b"b", b"2"]), (0, [b"a", b"3", b"b", b"4"]), (1, [b"a", b"5", b"b", b"6"])]
    assert packed(messages) == [1, 2, b"a", b"b", 1, 1, 2, b"1", b"2", b"3", b"4", 2, 1, 1, b"5", b"6"]


def test_other_names_or_another_order_are_another_shape() -> None:
    messages = [(0, [b"a", b"1", b"b", b"2"]), (0, [b"b", b"3", b"a", b"4"]), (0, [b"a", b"5", b"b", b"6"])]
    runs = [1, 1, 1, b"1", b"2", 1, 2, 1, b"3", b"4", 1, 1, 1, b"5", b"6"]
    assert packed(messages) == [2, 2, b"a", b"b", 2, b"b", b"a", *runs]


def test_nothing_is_no_shape() -> None:
    assert packed([]) == [0]


@pytest.mark.parametrize("fields", [[], [b"a"], [b"a", b"1", b"b"]])
def test_what_is_no_pairs_is_refused(fields: list[bytes]) -> None:
    with pytest.raises(ValueError, match="no pairs"):
        packed([(0, fields)])


def test_columns_are_packed_as_the_messages_that_they_stand_for() -> None:
    messages = [(1, [b"a", b"1", b"b", b"2"]), (1, [b"a", b"3", b"b", b"4"])]
    assert packed_columns(1, [b"a", b"b"], [[b"1", b"3"], [b"2", b"4"]]) == packed(messages)


ROW = [b"_mid", b"m", b"a", b"1"]


@pytest.mark.parametrize(
    "messages",
    [
        [(0, ROW)],
        [(2, ROW)] * 3,
        [(0, [b"a", b"1"]), (0, [b"a", b"a"])],
        [(0, [b"a", b"1"]), (0, [b"1", b"a"])],
        [(0, [b"a", b"1"]), (1, [b"a", b"1"])],
        [(0, [b"a", b"1", b"b", b"2"]), (0, [b"a", b"1"]), (0, [b"a", b"1", b"b", b"2"])],
    ],
)
def test_the_fast_way_gives_what_the_slow_one_does(messages: list[tuple[int, list[bytes]]]) -> None:
    assert packed(messages) == _packed_each(messages)
