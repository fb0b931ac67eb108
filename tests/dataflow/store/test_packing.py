"""Messages as scripts take them."""

from __future__ import annotations

from typing import Any

import msgpack
import pytest

from dataflow.store.packing import _listed_each, pack, packed, packed_columns


def unpacked(argument: bytes) -> list[Any]:
    """The list in an argument; all text as bytes, as scripts see it."""
    found: list[Any] = msgpack.unpackb(argument, raw=True)
    return found


def test_bytes_that_are_no_text_are_packed_as_text_is() -> None:
    assert unpacked(pack([b"\xff\x00", "h\u00e9", 7])) == [b"\xff\x00", "h\u00e9".encode(), 7]
    assert b"\xc4" not in pack([b"\xff\x00"])  # the type of bytes, which cmsgpack refuses


def test_names_stand_once_and_runs_are_counted() -> None:
    messages = [(0, [b"a", b"1", b"b", b"2"]), (0, [b"a", b"3", b"b", b"4"]), (1, [b"a", b"5", b"b", b"6"])]
    assert unpacked(packed(messages)) == [1, 2, b"a", b"b", 1, 1, 2, b"1", b"2", b"3", b"4", 2, 1, 1, b"5", b"6"]


def test_other_names_or_another_order_are_another_shape() -> None:
    messages = [(0, [b"a", b"1", b"b", b"2"]), (0, [b"b", b"3", b"a", b"4"]), (0, [b"a", b"5", b"b", b"6"])]
    runs = [1, 1, 1, b"1", b"2", 1, 2, 1, b"3", b"4", 1, 1, 1, b"5", b"6"]
    assert unpacked(packed(messages)) == [2, 2, b"a", b"b", 2, b"b", b"a", *runs]


def test_nothing_is_no_shape() -> None:
    assert unpacked(packed([])) == [0]


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
    assert unpacked(packed(messages)) == _listed_each(messages)


@pytest.mark.parametrize("wrong", ["text", 7, 0.1, True, None, [1], bytearray(b"x")])
def test_what_is_not_bytes_is_refused_before_anything_is_sent(wrong: Any) -> None:
    for messages in (
        [(0, [b"a", wrong])],
        [(0, [b"a", b"1"]), (0, [b"b", wrong])],
        [(0, [b"a", b"1"]), (1, [wrong, b"1"])],
    ):
        with pytest.raises(TypeError, match="is not bytes"):
            packed(messages)
    with pytest.raises(TypeError, match="is not bytes"):
        packed_columns(0, [b"a", b"b"], [[b"1", b"2"], [b"3", wrong]])
    with pytest.raises(TypeError, match="is not bytes"):
        packed_columns(0, [b"a", wrong], [[b"1"], [b"2"]])
