"""What requests carry, and which documents come of it."""

from __future__ import annotations

from typing import Any

import pytest

from dataflow.web.answer import Refusal
from dataflow.web.body import parse
from scheduler.api.body import document_of, task_id_of

PUBLISH: dict[str, Any] = {
    "task_id": "t4", "task_name": "s2s", "task_type": "cron", "task_kwargs": {"edge": "e"}, "year": None, "month": None,
    "day": None, "week": None, "day_of_week": None, "hour": None, "minute": None, "second": "*/10",
    "start_date": "2026-01-01 00:00:00", "end_date": "2999-01-01 00:00:00",
}  # fmt: skip


def test_a_cron_task_with_all_its_nulls() -> None:
    assert document_of(PUBLISH) == {
        "task_id": "t4", "job_name": "s2s", "interval_para": {"second": "*/10"}, "start_dt": "2026-01-01 00:00:00",
        "end_dt": "2999-01-01 00:00:00", "task_kwargs": {"edge": "e"},
    }  # fmt: skip


@pytest.mark.parametrize(
    ("body", "schedule"),
    [
        ({"second": 5, "timezone": "UTC"}, {"second": 5, "timezone": "UTC"}),
        ({"task_type": "interval", "minutes": 5}, {"interval": {"minutes": 5}}),
        ({"task_type": "date", "run_date": "2030-01-01 00:00:00"}, {"date": {"run_date": "2030-01-01 00:00:00"}}),
    ],
)
def test_each_type_has_its_fields(body: dict[str, Any], schedule: dict[str, Any]) -> None:
    found = document_of({"task_id": "t", "task_name": "s2s", "task_kwargs": None, **body})
    assert (found["interval_para"], found["task_kwargs"], found["start_dt"]) == (schedule, {}, "")


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"task_id": ""}, "task_id"),
        ({"task_id": 5}, "task_id"),
        ({"task_id": "a\nb"}, "task_id"),
        ({"task_name": None}, "task_name"),
        ({"task_type": "hourly"}, "hourly"),
        ({"task_kwargs": [1]}, "task_kwargs"),
        ({"task_kwargs": {"json": {"n": 2**63}}}, "64 bits"),
        ({"task_kwargs": {"json": {"a\0b": 1}}}, "zero byte"),
        ({"task_kwargs": {"edge": "arch", "target_ch_pwd": "hunter2"}}, "target_ch_pwd is a secret"),
        ({"second": [1]}, "second must be text or a number, not a list"),
        ({"timezone": {"a": 1}}, "timezone must be text or a number, not an object"),
        ({"minutes": 5}, "minutes"),
        ({"func_body": "import os"}, "func_body"),
    ],
)
def test_what_does_not_fit_is_refused(change: dict[str, Any], says: str) -> None:
    with pytest.raises(Refusal, match=says):
        document_of({**PUBLISH, **change})


def test_arguments_are_not_nested_for_ever() -> None:
    deep: dict[str, Any] = {}
    for _ in range(30):
        deep = {"json": deep}
    with pytest.raises(Refusal, match="deep"):
        document_of({**PUBLISH, "task_kwargs": deep})


@pytest.mark.parametrize("data", [b"", b"{", b"[1]", b'"x"', b"\xff", b"[" * 100_000])
def test_only_objects_are_read(data: bytes) -> None:
    with pytest.raises(Refusal):
        parse(data)


def test_a_task_id_may_be_any_text() -> None:
    assert task_id_of({"task_id": "任务 4"}) == "任务 4"
