"""A task as its document tells it. Pure: documents come from everywhere, so nothing in them is taken for granted."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from dataflow.flow.spec import Edge, Flow
from dataflow.schedule import BOUNDS, BadSchedule, Trigger, trigger
from scheduler.jobs.kind import BadJob


@dataclass(frozen=True, slots=True)
class Task:
    """One document of TaskTable.

    pid: `<machine>.<task_id>`, under which its runs are known. key: the document's `_id`, which may be another: people
    insert documents without one. rivals: other documents of the same pid. wish, said: `set_to_status` and
    `running_status` as they stand. kwargs: arguments of the job. `start`, `end`: bounds of the schedule, in its zone.
    """

    pid: str
    task_id: str
    job_name: str
    wish: object
    said: object
    schedule: Any
    start: str
    end: str
    kwargs: Any
    enabled: bool = True
    description: str = ""
    key: Any = None
    rivals: tuple[Task, ...] = ()

    @classmethod
    def of(cls, document: Mapping[str, Any]) -> Task:
        """Read a document as MongoDB gives it. Never fails: what cannot be used shows when it is used."""
        key, machine = document.get("_id", ""), _text(document.get("machine"))
        task_id = _text(document.get("task_id")) or str(key).removeprefix(f"{machine}.")
        return cls(
            pid=pid_of(machine, task_id) if machine else str(key),
            key=key,
            task_id=task_id,
            job_name=_text(document.get("job_name")),
            wish=document.get("set_to_status"),
            said=document.get("running_status"),
            schedule=document.get("interval_para"),
            start=_text(document.get("start_dt")),
            end=_text(document.get("end_dt")),
            kwargs=document.get("task_kwargs"),
            enabled=document.get("is_enable", 1) not in (0, "0"),  # False is 0, too
            description=_text(document.get("description")),
        )

    @property
    def ambiguous(self) -> bool:
        """Whether another document could be the task as well as this one."""
        return bool(self.rivals) and self.key != self.pid

    @property
    def remark(self) -> str:
        """What is to be said about its rivals; "" if there are none."""
        if not self.rivals:
            return ""
        others = ", ".join(repr(one.key) for one in self.rivals)
        if not self.ambiguous:
            return f"other documents have the task_id {self.task_id!r}, too, and count for nothing: _id {others}"
        return (
            f"several documents have the task_id {self.task_id!r}, so that none is heeded: _id {self.key!r}, {others}; "
            f"delete all but one, or give one the _id {self.pid!r}"
        )

    def trigger(self, zone: str) -> Trigger:
        """When it is due; `zone` is for a schedule that names none. Raises BadSchedule."""
        if not isinstance(self.schedule, Mapping):
            raise BadSchedule(f"interval_para must be a mapping, not {type(self.schedule).__name__}")
        return trigger(self.schedule, zone, self.start, self.end)

    @property
    def arguments(self) -> Mapping[str, Any]:
        """Keyword arguments of the job; empty where the document says nothing. Raises BadJob."""
        if self.kwargs is None:
            return {}
        if not isinstance(self.kwargs, Mapping):
            raise BadJob(f"task_kwargs must be an object of names and values, not {type(self.kwargs).__name__}")
        return self.kwargs

    @property
    def timing(self) -> str:
        """What decides when it is due: another text, another trigger."""
        return repr((self.schedule, self.start, self.end))


def pid_of(machine: str, task_id: str) -> str:
    """The key of a task's document."""
    return f"{machine}.{task_id}"


def tasks_of(documents: Iterable[Mapping[str, Any]]) -> dict[str, Task]:
    """pid -> task, of a machine's documents. Of several documents for one task, that counts whose `_id` is the pid."""
    same: dict[str, list[Task]] = {}
    for task in map(Task.of, documents):
        same.setdefault(task.pid, []).append(task)
    return {pid: _chosen(found) for pid, found in same.items()}


def _chosen(found: list[Task]) -> Task:
    first, *rivals = sorted(found, key=lambda task: (task.key != task.pid, str(task.key)))
    return replace(first, rivals=tuple(rivals))


def documents_of(flow: Flow) -> dict[str, dict[str, Any]]:
    """pid -> what the flow says of its edges' tasks: the fields of TaskTable that it owns. Pure.

    An edge with `task: external` has none: its schedule is someone else's.
    """
    edges = [edge for edge in flow.edges.values() if edge.task]
    return {pid_of(flow.machine, edge.name): _fields(flow, edge) for edge in edges}


def _fields(flow: Flow, edge: Edge) -> dict[str, Any]:
    schedule = dict(edge.task or {})
    bounds = {name: schedule.pop(name, None) for name in BOUNDS}
    return {
        "machine": flow.machine,
        "task_id": edge.name,
        "job_name": edge.kind,
        "interval_para": schedule,
        "start_dt": _text(bounds["start_date"]),
        "end_dt": _text(bounds["end_date"]),
        "task_kwargs": {"edge": edge.name},
    }


def _text(value: object) -> str:
    return "" if value is None else str(value)
