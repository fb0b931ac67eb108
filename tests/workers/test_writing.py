"""Results become stream entries, or the reason why not."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from dataflow.errors import StreamFull
from dataflow.flow.load import loads
from dataflow.handler import Reject, Retry, To
from dataflow.store.outcomes import Dead, Drop, Out, Outcome, Park
from tests.workers.support import task
from workers import writing
from workers.task import Failed, Filtered, Handled, Result, Worked
from workers.writing import Writing

FLOW = """
flow: net
streams:
  in.stream_in: {{}}
  out.stream_out: {{max_len: 1000, keep: {{messages: 1}}}}
  side.stream_out: {{max_len: 20, keep: {{messages: 1}}}}
workers:
  double: {{from: in.stream_in, {to}handler: "steps:handle", batch: 10, max_attempts: 3}}
"""
NOW_MS = 1_000_000


def make(*to: str) -> Writing:
    targets = f"to: [{', '.join(to)}], " if to else ""
    flow = loads(FLOW.format(to=targets), Path("/nowhere/flow.yml"))
    return Writing(flow, flow.workers["double"])


BOTH = ("out.stream_out", "side.stream_out")


def outcome(writing: Writing, result: Result, attempt: int = 1) -> Outcome:
    ((entry, found),) = writing.outcomes(Worked([(task(7, attempt=attempt), result)]), NOW_MS)
    assert entry.id == b"7-0"
    return found


def one(n: int) -> Handled:
    return Handled([{"n": n}])


def test_one_message_keeps_its_id() -> None:
    fields = [b"_mid", b"m7", b"_path", b"hub@1>double@1000000", b"n", b"1"]
    assert outcome(make("out.stream_out"), one(1)) == Out([(0, fields)])


def test_several_are_children() -> None:
    found = outcome(make("out.stream_out"), Handled([{"n": 1}, {"n": 2}]))
    assert isinstance(found, Out)
    assert [fields[1] for _, fields in found.messages] == [b"m7.double.0", b"m7.double.1"]


def test_with_several_targets_each_is_a_child_and_has_its_number() -> None:
    found = outcome(make(*BOTH), Handled([To("side.stream_out", {"n": 1}), {"n": 2}]))
    assert isinstance(found, Out)
    assert [(number, fields[1]) for number, fields in found.messages] == [(1, b"m7.double.0"), (0, b"m7.double.1")]


def test_what_came_of_a_whole_batch_is_nobodys_message() -> None:
    pairs: list[tuple[Any, Result]] = [(task(7), one(1)), (task(8), Handled([]))]
    first, second = (found for _, found in make("out.stream_out").outcomes(Worked(pairs, together=True), NOW_MS))
    assert isinstance(first, Out)
    assert first.messages[0][1][1] == b"m7.double.0"
    assert second == Out([])


@pytest.mark.parametrize(
    ("result", "expected"),
    [
        (Filtered(), Drop()),
        (Handled([]), Out([])),
        (Failed(ValueError()), Park(NOW_MS + 2000, 2)),
        (Failed(Reject("no")), Dead("rejected", "no", 2)),
    ],
)
def test_everything_else(result: Result, expected: Outcome) -> None:
    assert outcome(make("out.stream_out"), result, attempt=2) == expected


@pytest.mark.parametrize(
    ("to", "messages", "told"),
    [
        ((), [{"n": 1}], "has no `to` in the flow file"),
        (BOTH, [To("elsewhere", {})], "is not among the worker's targets"),
        (
            BOTH,
            [To("side.stream_out", {"n": i}) for i in range(21)],
            "21 messages at once never fit into 'side.stream_out'",
        ),
        (BOTH[1:], [{"n": 1}, *(To("side.stream_out", {"n": i}) for i in range(20))], "21 messages at once never fit"),
        (BOTH, [{"n": i} for i in range(10_001)], "10001 messages out of one; at most 10000"),
        (BOTH, [{"n": "x" * (1 << 20)}], "bytes"),
        (BOTH, [{"_mine": 1}], "'_mine'"),
    ],
)
def test_what_cannot_be_written_is_dead(to: Sequence[str], messages: list[Any], told: str) -> None:
    found = outcome(make(*to), Handled(messages))
    assert isinstance(found, Dead)
    assert found.reason == "bad_output"
    assert told in found.error


def test_bytes_are_counted_over_all_messages_of_one() -> None:
    big = {"n": "x" * 1_000_000}
    assert isinstance(outcome(make(*BOTH), Handled([big] * 33)), Out)
    found = outcome(make(*BOTH), Handled([big] * 34))
    assert isinstance(found, Dead)
    assert f"at most {writing.MAX_BYTES_OF_ONE} are written at once" in found.error


class Half(Retry):
    """A Retry whose author forgot to call the base class."""

    def __init__(self) -> None: ...


def test_a_strange_error_is_a_failure_like_any_other() -> None:
    assert outcome(make(*BOTH), Failed(Half())) == Park(NOW_MS + 1000, 1)


@pytest.mark.parametrize(("room", "n"), [(0, 1), (1, 1), (2, 3), (3, 5), (5, 5)])
def test_what_fits_into_a_full_target(room: int, n: int) -> None:
    outcomes: list[Any] = [
        (None, Drop()),
        (None, Out([(1, []), (0, []), (1, [])])),
        (None, Out([(0, [])])),
        (None, Out([(1, [])])),
        (None, Dead("x", "y", 1)),
    ]
    assert make(*BOTH).fitting(outcomes, StreamFull("side.stream_out", 20 - room, 20)) == n


def test_what_fits_into_full_dead_letters() -> None:
    outcomes: list[Any] = [(None, Out([(0, [])])), (None, Dead("x", "y", 1)), (None, Drop()), (None, Dead("x", "y", 1))]
    assert make(*BOTH).fitting(outcomes, StreamFull("dead letters of double", 9, 10)) == 3
