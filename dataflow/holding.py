"""Why a reader holds messages of its stream back. Pure: everything is what Redis told before.

A stream that fills does so because of its slowest reader. Here it is told apart whether that one is merely slow, or
stands still, and what makes it go on.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

from dataflow.flow.spec import Edge, Flow, Worker
from dataflow.store.alarms import Alarm
from dataflow.store.hop import MAX_COMING_BACK
from dataflow.store.reading import GroupView, LaneView, Process, StreamView

Reason = Literal[
    "group_missing",
    "former",
    "paused",
    "task_paused",
    "task_init",
    "task_disabled",
    "task_expired",
    "no_scheduler",
    "no_process",
    "handler",
    "target_full",
    "retrying",
    "failing",
    "behind",
]
"""Why. `behind`: it works, or waits for its schedule, and has not come so far. All others need someone to act."""

_TASKS: Final[Mapping[str, str]] = {
    "paused": "its task is paused: `dataflow task resume {name}` lets it go on",
    "init": "its task is not scheduled: `dataflow task resume {name}` does that",
    "disabled": "its task is disabled: set `is_enable` of its document to 1",
    "expired": "its task's schedule has no further run: give it a later end",
}
"""What to do about a task that holds its edge, by its state."""


@dataclass(frozen=True, slots=True)
class Hold:
    """A reader that still needs entries of a stream: how many messages, why it has not finished them, what to do."""

    reader: str
    reason: Reason
    text: str
    waiting: int

    @property
    def stands_still(self) -> bool:
        """Whether it goes on only when someone acts."""
        return self.reason != "behind"


@dataclass(frozen=True, slots=True)
class Scene:
    """What the readers of a flow depend on, as it was told."""

    flow: Flow
    lanes: Sequence[LaneView]
    processes: Sequence[Process]
    alarms: Sequence[Alarm]

    def alive(self, kind: str) -> list[Process]:
        """The live processes of a kind."""
        return [one for one in self.processes if one.kind == kind and not one.gone]

    def alarm(self, kind: str, reader: str) -> str:
        """The text of an alarm about a reader; "" if it is not up."""
        return next((a.text for a in self.alarms if a.kind == kind and a.subject.partition("/")[0] == reader), "")

    def task(self, edge: str) -> Mapping[str, Any] | None:
        """What the scheduler says of an edge's task; None where none leads or it does not know the task."""
        leading = [one.facts.get("tasks") for one in self.alive("scheduler") if one.facts.get("leads")]
        return next((tasks[edge] for tasks in leading if isinstance(tasks, dict) and edge in tasks), None)


def holds(scene: Scene, view: StreamView) -> tuple[Hold, ...]:
    """Who holds a stream, and why: those first who stand still, of these the one who needs most."""
    found = [_hold(scene, view.name, group) for group in view.groups if group.declared and _needs(group)]
    return tuple(sorted(found, key=lambda hold: (not hold.stands_still, -hold.waiting)))


def _needs(group: GroupView) -> bool:
    return not group.exists or group.undelivered + group.pending > 0


def _hold(scene: Scene, stream: str, group: GroupView) -> Hold:
    reason, text = _why(scene, stream, group)
    return Hold(group.name, reason, text, group.undelivered + group.pending)


def _why(scene: Scene, stream: str, group: GroupView) -> tuple[Reason, str]:
    name, flow = group.name, scene.flow
    if not group.exists:
        return "group_missing", "its consumer group is gone from Redis: `dataflow apply` makes it again where it stood"
    if name not in flow.readers(stream):
        return "former", f"the flow file no longer has it: put it back, or `dataflow release {stream}/{name}`"
    if name in flow.workers:
        return _why_worker(scene, flow.workers[name], group)
    return _why_edge(scene, flow.edges[name])


def _why_worker(scene: Scene, worker: Worker, group: GroupView) -> tuple[Reason, str]:
    name = worker.name
    if broken := scene.alarm("handler", name):
        return "handler", f"its handler cannot be set up: {broken}"
    if not any(one.facts.get("name") == name for one in scene.alive("worker")):
        return "no_process", f"no process runs it: `dataflow worker {scene.flow.path.name} {name}` does"
    if full := scene.alarm("full", name):
        return "target_full", full
    back = group.parked + group.retry_depth
    if back >= MAX_COMING_BACK:
        return "retrying", f"{back} messages wait to come back, so it reads nothing new: mend what its handler needs"
    return "behind", "it works on them"


def _why_edge(scene: Scene, edge: Edge) -> tuple[Reason, str]:
    paused = next((lane.paused for lane in scene.lanes if lane.edge == edge.name and lane.paused), "")
    if paused:
        return "paused", f"the edge is paused: {paused}; then `dataflow resume {edge.name}`"
    told = scene.task(edge.name)
    if edge.task is not None and (waits := _why_task(scene, edge, told)):
        return waits
    holder = any(lane.holder for lane in scene.lanes if lane.edge == edge.name)
    if not scene.alive("sync") and not holder:
        return "no_process", f"no process runs edges: `dataflow sync {scene.flow.path.name}` does"
    if failing := scene.alarm("edge-failing", edge.name):
        return "failing", f"it fails and is tried again: {failing}"
    return _why_last(scene, edge, told)


def _why_task(scene: Scene, edge: Edge, told: Mapping[str, Any] | None) -> tuple[Reason, str] | None:
    """Why an edge with a schedule does not run; None if its task runs."""
    if told is None:
        if edge.task and not any(one.facts.get("leads") for one in scene.alive("scheduler")):
            return "no_scheduler", f"no scheduler runs its task: `dataflow scheduler {scene.flow.path.name}` does"
        return None
    state = str(told.get("state", ""))
    if state in _TASKS:
        text = _TASKS[state].format(name=told.get("task") or edge.name)
        return f"task_{state}", f"{text} ({why})" if (why := told.get("why")) else text  # type: ignore[return-value]
    return None


def _why_last(scene: Scene, edge: Edge, told: Mapping[str, Any] | None) -> tuple[Reason, str]:
    """By how its last run ended."""
    states = [one.facts.get("edges") for one in scene.alive("sync")]
    state = next((known[edge.name] for known in states if isinstance(known, dict) and edge.name in known), "")
    last, error = (told.get("last", ""), told.get("error", "")) if told else (state, "")
    if last == "full":
        return "target_full", error or f"no room at its target ({', '.join(edge.target_streams)}) or its dead letters"
    if error:
        return "failing", f"its last run failed: {error}"
    if edge.task is None:
        return "behind", "it works on them"
    return "behind", "it waits for its schedule" if edge.task else "something outside the flow file says when it runs"
