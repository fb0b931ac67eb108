"""Whether a row fits, before it is sent; what the texts of a table stand for."""

from __future__ import annotations

from typing import Any

import pytest

from dataflow.cli.judge import Judge, read
from dataflow.errors import UnknownName
from dataflow.flow.load import loads
from dataflow.flow.spec import Field

FLOW = loads("""
flow: net
connections: {main: {redis: embedded}}
streams:
  a.stream_in:
    accepts: {task_for: t, function_type: f}
    keep: {messages: 10}
    schema:
      rec_id: str
      n: int
      x: {type: float, nullable: true}
      when: {type: datetime, nullable: true}
  c.stream_in: {keep: {messages: 10}}
  b.stream_out: {keep: {messages: 10}}
""")
GOOD = {"rec_id": "r", "task_for": "t", "function_type": "f", "n": 1}


@pytest.mark.parametrize(
    ("text", "field", "value"),
    [
        ("7", Field("int"), 7),
        (" -7 ", Field("int"), -7),
        ("1_000", Field("int"), "1_000"),
        ("7.5", Field("int"), "7.5"),
        ("7.5", Field("float"), 7.5),
        ("1e3", Field("float"), 1000.0),
        ("", Field("float"), ""),
        ("", Field("float", nullable=True), None),
        ("", Field("str"), ""),
        ("", Field("str", nullable=True), None),
        ("TRUE", Field("bool"), True),
        ("0", Field("bool"), False),
        ("yes", Field("bool"), "yes"),
        ("2024-05-01", Field("datetime"), "2024-05-01"),
        ("7", None, "7"),
        (7, Field("str"), 7),
    ],
)
def test_what_a_text_stands_for(text: Any, field: Field | None, value: object) -> None:
    found = read(text, field)
    assert (found, type(found)) == (value, type(value))


def test_a_row_of_a_table_is_read_by_the_schema_of_its_stream() -> None:
    judge = Judge(FLOW, None, {"task_for": "t", "function_type": "f"}, typed=True)
    row = judge.complete({"rec_id": "r", "n": "7", "x": "", "other": "8"})
    assert row == {"rec_id": "r", "task_for": "t", "function_type": "f", "n": 7, "x": None, "other": "8"}
    assert list(judge.faults(row)) == []


def test_values_of_json_stay_as_they_are() -> None:
    judge = Judge(FLOW, None, {}, typed=False)
    assert judge.complete({**GOOD, "n": "7"})["n"] == "7"


def test_constants_are_read_by_the_schema_and_win() -> None:
    judge = Judge(FLOW, "a.stream_in", {"n": "7"}, typed=False)
    assert judge.complete({"rec_id": "r", "n": 1}) == {"rec_id": "r", "n": 7}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"rec_id": None}, "rec_id: every message needs it"),
        ({"task_for": "other"}, "no stream accepts other/f; accepted are: t/f"),
        ({"n": "x"}, "n: x is text"),
        ({"n": [1]}, "n: a list inside a message"),
        ({"n": 2**64}, "more than 64 bits"),
        ({"x": float("nan")}, "x: nan cannot be sent"),
        ({"_mid": "m"}, "reserved"),
        ({"when": "yesterday"}, "when:"),
    ],
)
def test_what_is_wrong_with_a_message(change: dict[str, Any], said: str) -> None:
    judge = Judge(FLOW, None, {}, typed=False)
    assert list(judge.faults(GOOD)) == []
    faults = list(judge.faults({**GOOD, **change}))
    assert any(said in fault for fault in faults), faults


def test_every_fault_of_a_message_is_told() -> None:
    faults = list(Judge(FLOW, None, {}, typed=False).faults({"n": "x"}))
    assert [fault.partition(":")[0] for fault in faults] == ["rec_id", "task_for", "function_type"]
    faults = list(Judge(FLOW, "a.stream_in", {}, typed=False).faults({"n": "x"}))
    assert sorted(fault.partition(":")[0] for fault in faults) == ["n", "rec_id"]


@pytest.mark.parametrize(("stream", "said"), [("nowhere", "no stream"), ("b.stream_out", "no `in` stream")])
def test_only_in_streams_can_be_sent_to(stream: str, said: str) -> None:
    with pytest.raises(UnknownName, match=said):
        Judge(FLOW, stream, {}, typed=False)
