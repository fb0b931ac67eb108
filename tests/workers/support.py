"""What several tests of the workers need: worker declarations, tasks, a pace that never stops."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from dataflow.flow.spec import Worker
from dataflow.store.outcomes import Entry
from workers.handler import Pace
from workers.pulse import Pulse
from workers.task import Failed, Handled, Result, Task

WORKER = Worker(
    name="double",
    source="in.stream_in",
    targets=("out.stream_out",),
    handler="steps:handle",
    params={},
    processes=1,
    threads=1,
    batch=500,
    timeout_s=300.0,
    max_attempts=3,
    max_retry_s=604_800.0,
    lease_s=15.0,
    batch_handler="no",
    aggregate=False,
)


def worker(**changes: Any) -> Worker:
    """A worker's declaration that differs from WORKER in these points."""
    return replace(WORKER, **changes)


def task(n: int, message: Mapping[str, Any] | None = None, attempt: int = 1) -> Task:
    """The n-th task, its message {"n": n} unless told otherwise."""
    body = {"n": n} if message is None else dict(message)
    return Task(Entry("main", f"{n}-0".encode(), []), f"m{n}", "hub@1", attempt, body)


def tasks(n: int) -> list[Task]:
    """Tasks 0 to n - 1."""
    return [task(i) for i in range(n)]


def pace(threads: int = 1, settle_every_s: float = 60.0) -> Pace:
    """A pace that lets a batch run to its end. The batch has begun."""
    begun = Pace(Pulse(threads), lambda: False, settle_every_s)
    begun.start()
    return begun


def plain(result: Result) -> Any:
    """A result as messages, None for filtered, or the error."""
    if isinstance(result, Handled):
        return list(result.messages)
    return result.error if isinstance(result, Failed) else None
