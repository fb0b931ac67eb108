"""Ids tell their time, sort by it, and are read back whatever hop they went through."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from dataflow.ids import child_id, extend_path, foreign_id, message_id, mid_time_ms, parent_id, request_id

times = st.integers(0, (1 << 48) - 1)


@given(times, st.integers(0, 999))
def test_an_id_tells_when_it_was_made(at_ms: int, index: int) -> None:
    mid = message_id(request_id(at_ms), index)
    assert mid_time_ms(mid) == at_ms
    child = child_id(child_id(mid, "grade", 0), "score-2", 3)
    assert mid_time_ms(child) == at_ms
    assert parent_id(child) == child_id(mid, "grade", 0)
    assert parent_id(mid) is None


@given(times, times)
def test_ids_sort_by_time(left: int, right: int) -> None:
    if left != right:
        assert (request_id(left) < request_id(right)) == (left < right)


def test_ids_are_26_lower_case_characters_and_never_repeat() -> None:
    ids = {request_id() for _ in range(1000)}
    assert len(ids) == 1000
    assert all(len(one) == 26 and one == one.lower() for one in ids)


def test_a_foreign_id_tells_the_time_of_its_entry() -> None:
    mid = foreign_id("meter.stream_in", "1763686800000-7")
    assert mid_time_ms(mid) == mid_time_ms(child_id(mid, "grade", 0)) == 1763686800000
    assert parent_id(child_id(mid, "grade", 0)) == mid


@given(st.text(max_size=40))
def test_other_texts_tell_no_time_or_a_number(text: str) -> None:
    assert mid_time_ms(text) is None or text.isascii() or "/" in text


def test_a_path_grows_by_one_hop() -> None:
    assert extend_path(extend_path("", "hub", 5), "anomaly", 17) == "hub@5>anomaly@17"
