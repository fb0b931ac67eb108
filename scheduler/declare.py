"""The flow's own schedules in the documents. The flow owns the schedule of an edge, the document what it should be."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

from dataflow.flow.spec import Flow
from scheduler.runs import Runs
from scheduler.task import documents_of, tasks_of
from scheduler.tasks import Tasks

FLOW: Final = "flow"
_WAS: Final = "was:"


def declare(flow: Flow, tasks: Tasks, runs: Runs, now: str) -> None:
    """Insert a document for each edge with a schedule; bring the schedule of those that are there up to date.

    A new document wants to be running. A task that the flow had and has no more is to be init, and gets its former wish
    back when the flow has it again. A schedule that is `external` now goes on as it is.

    Args:
        now: the time for documents.

    Raises ServerAway, TasksRefused: part of it is done; do it again.
    """
    raws = tasks.read()
    known = {pid: next(r for r in raws if r["_id"] == task.key) for pid, task in tasks_of(raws).items()}
    wanted = documents_of(flow)
    for pid, fields in wanted.items():
        if pid not in known:
            tasks.insert({**fields, "set_to_status": "running"}, now)
        elif changes := _changes(known[pid], fields, runs.of(pid).owner):
            tasks.set(known[pid]["_id"], **changes)
        runs.change(pid, lambda record: replace(record, owner=FLOW))
    for pid in [pid for pid, record in runs.all().items() if record.owner == FLOW and pid not in wanted]:
        _withdraw(pid, known.get(pid, {}), flow, tasks, runs)


def _changes(raw: Mapping[str, Any], fields: Mapping[str, Any], owner: str) -> dict[str, Any]:
    changes = {name: value for name, value in fields.items() if raw.get(name) != value}
    if owner.startswith(_WAS) and raw.get("set_to_status") == "init":
        changes["set_to_status"] = owner.removeprefix(_WAS)
    return changes


def _withdraw(pid: str, raw: Mapping[str, Any], flow: Flow, tasks: Tasks, runs: Runs) -> None:
    edge = flow.edges.get(str(raw.get("task_id")))
    if edge is not None and edge.task is not None:
        runs.change(pid, lambda record: replace(record, owner=""))
        return
    was = str(raw.get("set_to_status") or "init")
    tasks.set(raw.get("_id"), set_to_status="init")
    runs.change(pid, lambda record: replace(record, owner=f"{_WAS}{was}"))
