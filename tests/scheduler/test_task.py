"""What a document means, whatever it holds; and what the flow says."""

from __future__ import annotations

from typing import Any

import pytest

from dataflow.flow.load import loads
from dataflow.schedule import BadSchedule
from scheduler.jobs.kind import BadJob
from scheduler.task import Task, documents_of

FLOW = """
flow: f
streams:
  a.stream_in:
  b.stream_in:
workers:
  w: {from: b.stream_in, handler: "m:f"}
edges:
  move: {kind: s2s, from: a.stream_in, to: b.stream_in, task: {TASK}}
"""


def test_a_whole_document() -> None:
    task = Task.of(
        {"_id": "m.t", "machine": "m", "task_id": "t", "job_name": "s2s", "set_to_status": "running",
         "running_status": "init", "interval_para": {"second": "*/5"}, "start_dt": "2026-01-01 00:00:00",
         "end_dt": "2999-01-01 00:00:00", "task_kwargs": {"edge": "e"}, "is_enable": 1}
    )  # fmt: skip
    assert (task.pid, task.task_id, task.job_name, task.wish, task.said) == ("m.t", "t", "s2s", "running", "init")
    assert task.enabled and task.arguments == {"edge": "e"}


@pytest.mark.parametrize(
    ("value", "enabled"), [(0, False), ("0", False), (False, False), (1, True), (None, True), ("x", True)]
)
def test_only_zero_disables(value: object, enabled: bool) -> None:
    assert Task.of({"_id": "m.t", "is_enable": value}).enabled is enabled


@pytest.mark.parametrize(
    "document",
    [{}, {"_id": 5}, {"_id": "m.t", "interval_para": "5"}, {"_id": "m.t", "interval_para": None, "task_kwargs": None}],
)
def test_what_cannot_be_used_shows_when_it_is_used(document: dict[str, Any]) -> None:
    task = Task.of(document)
    assert task.arguments == {}
    with pytest.raises(BadSchedule, match="interval_para must be a mapping"):
        task.trigger("UTC")


@pytest.mark.parametrize("kwargs", ["edge", [1], 5, ""])
def test_arguments_that_are_no_object_are_refused_by_their_type(kwargs: object) -> None:
    task = Task.of({"_id": "m.t", "task_kwargs": kwargs})
    with pytest.raises(BadJob, match=f"must be an object of names and values, not {type(kwargs).__name__}"):
        assert task.arguments


def test_another_timing_is_known_by_schedule_and_bounds_alone() -> None:
    document = {"_id": "m.t", "interval_para": {"second": 1}, "start_dt": "", "end_dt": ""}
    timing = Task.of(document).timing
    assert Task.of({**document, "task_kwargs": {"x": 1}, "job_name": "y"}).timing == timing
    assert Task.of({**document, "interval_para": {"second": 2}}).timing != timing
    assert Task.of({**document, "end_dt": "2030-01-01 00:00:00"}).timing != timing


def test_the_flow_says_what_it_owns() -> None:
    flow = loads(FLOW.replace("{TASK}", "{second: '*/5', start_date: 2030-01-01}"), environ={})
    assert documents_of(flow) == {
        "f.move": {
            "machine": "f", "task_id": "move", "job_name": "s2s", "interval_para": {"second": "*/5"},
            "start_dt": "2030-01-01", "end_dt": "", "task_kwargs": {"edge": "move"},
        }
    }  # fmt: skip


def test_a_schedule_elsewhere_is_not_the_flows() -> None:
    assert documents_of(loads(FLOW.replace("{TASK}", "external"), environ={})) == {}
