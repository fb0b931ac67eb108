"""What a user's function returned becomes results, or an error that says what was expected."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy
import pandas
import pytest

from dataflow.handler import Reject, Retry, To
from workers.fate import BadOutput
from workers.outputs import result_of, results_of_batch
from workers.task import Failed, Filtered, Handled, Results


def per_input(returned: Any, n: int) -> list[Any]:
    """Per input: its messages, None where it was filtered, or the error."""
    results = results_of_batch(returned, n, aggregate=False)
    assert not results.together
    assert results.split is None
    return [plain(result) for result in results.each]


def plain(result: object) -> Any:
    if isinstance(result, Handled):
        return list(result.messages)
    return result.error if isinstance(result, Failed) else None


class Sphinx:
    """Its repr raises."""

    def __repr__(self) -> str:
        raise RuntimeError("guess")


def dicts() -> Iterator[dict[str, int]]:
    yield {"a": 1}
    yield {"a": 2}


def test_none_is_filtered() -> None:
    assert result_of(None) == Filtered()


@pytest.mark.parametrize("returned", [{"a": 1}, To("s", {"a": 1})])
def test_one_message(returned: Any) -> None:
    assert result_of(returned) == Handled((returned,))


@pytest.mark.parametrize(
    "returned", [[{"a": 1}, {"a": 2}], ({"a": 1}, {"a": 2}), dicts(), map(dict, [{"a": 1}, {"a": 2}])]
)
def test_several_messages(returned: Any) -> None:
    assert plain(result_of(returned)) == [{"a": 1}, {"a": 2}]


def test_no_messages_is_handled_not_filtered() -> None:
    assert result_of([]) == Handled([])


@pytest.mark.parametrize(
    ("returned", "told"),
    [
        ("text", "str 'text'"),
        (b"bytes", "bytes"),
        (7, "int 7"),
        (True, "bool True"),
        ({1, 2}, "set"),
        ([{"a": 1}, None], "NoneType None"),
        ([{"a": 1}, "b"], "str 'b'"),
        ([[{"a": 1}]], "list"),
        ("x" * 500, "..."),
        (Sphinx(), "repr raises"),
    ],
)
def test_nonsense_is_named(returned: Any, told: str) -> None:
    with pytest.raises(BadOutput, match="expected a dict, a list of dicts, or None") as raised:
        result_of(returned)
    assert told in str(raised.value)
    assert len(str(raised.value)) < 300


def test_what_a_generator_raises_comes_out() -> None:
    def breaks() -> Iterator[dict[str, int]]:
        yield {"a": 1}
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        result_of(breaks())


def test_a_batch_answers_one_item_per_message() -> None:
    assert per_input([{"a": 1}, None, [{"b": 1}, {"b": 2}]], 3) == [[{"a": 1}], None, [{"b": 1}, {"b": 2}]]


def test_a_batch_may_be_a_generator_or_a_tuple() -> None:
    assert per_input(dicts(), 2) == [[{"a": 1}], [{"a": 2}]]
    assert per_input(({"a": 1}, None), 2) == [[{"a": 1}], None]


@pytest.mark.parametrize("returned", [None, [], ()])
def test_a_batch_without_answers_was_filtered(returned: Any) -> None:
    assert per_input(returned, 2) == [None, None]


def test_a_batch_answers_with_pairs() -> None:
    pairs = [(2, {"c": 1}), (0, {"a": 1}), (numpy.int64(2), {"c": 2})]
    assert per_input(pairs, 3) == [[{"a": 1}], None, [{"c": 1}, {"c": 2}]]


def test_two_messages_in_a_tuple_are_not_a_pair() -> None:
    assert per_input([({"a": 1}, {"a": 2})], 1) == [[{"a": 1}, {"a": 2}]]


def test_single_messages_of_a_batch_may_be_refused_or_put_off() -> None:
    reject, retry = Reject("no"), Retry(3)
    assert per_input([reject, {"a": 1}, retry], 3) == [reject, [{"a": 1}], retry]


def test_a_nonsensical_item_fails_alone() -> None:
    good, bad = per_input([{"a": 1}, "text"], 2)
    assert good == [{"a": 1}]
    assert isinstance(bad, BadOutput)


@pytest.mark.parametrize("returned", [[{"a": 1}], [{"a": 1}] * 3, {"a": 1}, "text", 5, pandas.Series([1, 2])])
def test_a_batch_of_the_wrong_length_or_kind_is_refused(returned: Any) -> None:
    with pytest.raises(BadOutput, match="for 2 messages: expected one item per message"):
        per_input(returned, 2)


@pytest.mark.parametrize("index", [-1, 2, 99])
def test_pairs_must_name_inputs(index: int) -> None:
    with pytest.raises(BadOutput, match="the batch has 0 to 1"):
        per_input([(index, {"a": 1})], 2)


def test_a_frame_answers_by_its_index() -> None:
    frame = pandas.DataFrame({"x": [1, 2, 3, 4]})
    frame["y"] = frame["x"] * 2
    assert per_input(frame[frame["x"] > 2], 4) == [None, None, [{"x": 3, "y": 6}], [{"x": 4, "y": 8}]]


def test_an_empty_frame_filters_everything() -> None:
    assert per_input(pandas.DataFrame({"x": [1, 2]})[:0], 2) == [None, None]


def test_a_frame_may_answer_several_times_for_one_message() -> None:
    assert per_input(pandas.DataFrame({"x": [1, 2]}, index=[1, 1]), 2) == [None, [{"x": 1}, {"x": 2}]]


def test_a_frame_with_another_index_is_refused() -> None:
    with pytest.raises(BadOutput, match="str 'a'"):
        per_input(pandas.DataFrame({"x": [1]}, index=["a"]), 1)


def test_all_missing_values_of_a_frame_are_null() -> None:
    frame = pandas.DataFrame(
        {
            "text": ["a", None],
            "number": [1.5, float("nan")],
            "time": pandas.to_datetime(["2026-01-01", None]),
            "whole": pandas.array([1, None], dtype="Int64"),
        }
    )
    nulls = {"text": None, "number": None, "time": None, "whole": None}
    first, second = per_input(frame, 2)
    assert second == [nulls]
    assert first[0]["number"] == 1.5
    assert first[0]["whole"] == 1


def whole(returned: Any, n: int) -> list[Any]:
    results: Results = results_of_batch(returned, n, aggregate=True)
    assert results.together
    assert len(results.each) == n
    return [plain(result) for result in results.each]


@pytest.mark.parametrize("returned", [[{"a": 1}, {"a": 2}], pandas.DataFrame({"a": [1, 2]}, index=["x", "y"]), dicts()])
def test_an_aggregate_belongs_to_the_batch(returned: Any) -> None:
    assert whole(returned, 3) == [[{"a": 1}, {"a": 2}], [], []]


@pytest.mark.parametrize(("returned", "messages"), [({"a": 1}, [{"a": 1}]), (None, []), ([], [])])
def test_an_aggregate_may_be_one_message_or_none(returned: Any, messages: list[Any]) -> None:
    assert whole(returned, 2) == [messages, []]


def test_a_nonsensical_aggregate_is_refused() -> None:
    with pytest.raises(BadOutput):
        whole("text", 2)
