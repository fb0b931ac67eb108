"""Rows turned into columns."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from sync.sink import Row
from sync.sinks.clickhouse.sheet import read_sheet


def test_rows_of_one_shape_are_turned_at_once() -> None:
    sheet = read_sheet([[b"a", b"1", b"b", b"2"], [b"a", b"3", b"b", b"4"]])
    assert len(sheet.shapes) == 1
    assert list(sheet.column(b"a")) == [b"1", b"3"]
    assert list(sheet.column(b"b")) == [b"2", b"4"]
    assert list(sheet.column(b"c")) == [None, None]


def test_no_rows_are_no_shapes() -> None:
    assert read_sheet([]).size == 0


def test_a_row_without_fields_is_a_shape() -> None:
    sheet = read_sheet([[], [b"a", b"1"]])
    assert list(sheet.column(b"a")) == [None, b"1"]


def test_names_of_equal_count_but_other_order_are_told_apart() -> None:
    sheet = read_sheet([[b"a", b"1", b"b", b"2"], [b"b", b"3", b"a", b"4"]])
    assert list(sheet.column(b"a")) == [b"1", b"4"]


def test_nulls_are_named_by_the_message() -> None:
    sheet = read_sheet([[b"_null", b'["a","b"]'], [b"_null", b'["b"]'], [b"a", b"1"]])
    assert sheet.null_at(b"a") == {0}
    assert sheet.null_at(b"b") == {0, 1}


def test_rows_that_cannot_be_read_are_refused() -> None:
    rows: list[Row] = [
        [b"a", b"1", b"a", b"2"],
        [b"_null", b"{}"],
        [b"_null", b"\xff"],
        [b"_null", b'[["a"]]'],
        [b"a", b""],
    ]
    sheet = read_sheet(rows)
    assert {position: why.field for position, why in sheet.refused.items()} == {
        0: "a",
        1: "_null",
        2: "_null",
        3: "_null",
    }


NAMES = st.sampled_from([b"a", b"b", b"c", b"d"])


@settings(deadline=None)
@given(st.lists(st.dictionaries(NAMES, st.binary(max_size=3), max_size=4), max_size=8))
def test_every_value_stands_where_it_belongs(messages: list[dict[bytes, bytes]]) -> None:
    sheet = read_sheet([[part for pair in message.items() for part in pair] for message in messages])
    for name in (b"a", b"b", b"c", b"d"):
        assert list(sheet.column(name)) == [message.get(name) for message in messages]
