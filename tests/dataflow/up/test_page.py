"""The page of `up` shows what an operator looks for."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

import pytest
from rich.console import Console

from dataflow.process import ProcessId
from dataflow.run_file import RunFile, WarehouseAddress
from dataflow.up.depths import Depth
from dataflow.up.page import View, duration, render
from dataflow.up.supervisor import ChildStatus


def shown(depths: Sequence[Depth] | None = ()) -> str:
    run = RunFile(
        flow="water",
        up=ProcessId(1, "boot/1"),
        hub="http://127.0.0.1:24100",
        sync="http://127.0.0.1:24104",
        redis={"main": "redis://:hunter2@127.0.0.1:4000/0"},
        warehouse={"warehouse": WarehouseAddress("127.0.0.1", 4001, "hunter2")},
    )
    log = Path("/nowhere/logs/hub.log")
    children = [
        ChildStatus("redis.main", "running", ProcessId(42, "boot/2"), 61.0, 0, "", log),
        ChildStatus("hub", "restarting", None, 0.0, 3, "ended with exit code 3: redis://:hunter2@host is away", log),
    ]
    out = io.StringIO()
    view = View("water", Path("/nowhere/flow.yml"), run, children, depths, ["12:00:00 hub is away"], log.parent)
    Console(file=out, width=140).print(render(view))
    return out.getvalue()


def test_it_shows_processes_addresses_events_and_what_to_do_next() -> None:
    page = shown()
    for words in (
        "redis.main",
        "42",
        "restarting",
        "http://127.0.0.1:24100",
        "sync API: http://127.0.0.1:24104",
        "dataflow send",
        "/nowhere/logs",
        "12:00:00",
    ):
        assert words in page
    (hub,) = [line for line in page.splitlines() if line.strip().startswith("hub ")]
    assert "3" in hub and "exit code 3" in hub


def test_no_secret_is_on_it() -> None:
    assert "hunter2" not in shown()


def test_it_shows_depths_or_that_redis_does_not_answer() -> None:
    assert "1,234" in shown([Depth("a.stream_in", 1234, 100_000, 7)])
    assert "Redis does not answer" in shown(None)


@pytest.mark.parametrize(("seconds", "text"), [(0.4, "0 s"), (99, "99 s"), (150, "2 min"), (9000, "2.5 h")])
def test_durations_read_well(seconds: float, text: str) -> None:
    assert duration(seconds) == text
