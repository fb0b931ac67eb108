"""The four moves by HTTP: each writes the document, lets the loop act at once, and answers when the effect is real."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, Final

from dataflow.errors import UserError
from dataflow.flow.spec import Flow
from dataflow.web.answer import Refusal
from scheduler.jobs.kinds import Jobs
from scheduler.loop import Loop
from scheduler.machine import MOVES, Move, State, allowed
from scheduler.task import Task, documents_of, pid_of
from scheduler.tasks import Tasks

PATIENCE_S: Final = 10.0
"""How long a request waits for its effect; a run under way is waited for, too."""


class Acts:
    """Carries moves out. Thread-safe.

    Args:
        loop: what makes documents real.
        tasks: the documents.
        jobs: what tasks may do.
        flow: gives the flow as it is now.
    """

    def __init__(self, loop: Loop, tasks: Tasks, jobs: Jobs, flow: Callable[[], Flow]) -> None:
        self._loop, self._tasks, self._jobs, self._flow = loop, tasks, jobs, flow

    def publish(self, fields: Mapping[str, Any]) -> dict[str, Any]:
        """Schedule a task; a task of that name that is not scheduled is replaced. The flow's own keep their schedule.

        Raises Refusal, AmbiguousTask, ServerAway, TasksRefused.
        """
        self._check_leads()
        task_id = fields["task_id"]
        pid = pid_of(self._tasks.machine, task_id)
        owned = documents_of(self._flow()).get(pid)
        wanted = {**(owned or fields), "set_to_status": "running"}
        self._check_usable(Task.of({**wanted, "_id": pid}))
        found = self._tasks.find(task_id)
        if found is None:
            self._tasks.insert(wanted, self._loop.now_text())
        else:
            self._check_allowed(Task.of(found), "publish")
            self._tasks.set(found["_id"], **wanted, update_time=self._loop.now_text())
        return self._made_real(task_id, "running")

    def move(self, task_id: str, move: Move) -> dict[str, Any]:
        """Pause, resume or delete a task. Raises Refusal, AmbiguousTask, ServerAway, TasksRefused."""
        self._check_leads()
        found = self._tasks.find(task_id)
        if found is None:
            raise Refusal(404, f"there is no task {task_id!r} of machine {self._tasks.machine!r}")
        task = Task.of(found)
        self._check_allowed(task, move)
        target = MOVES[move][1]
        self._tasks.set(task.key, set_to_status=target, update_time=self._loop.now_text())
        return self._made_real(task_id, target)

    def _check_leads(self) -> None:
        if not self._loop.leads:
            who = self._loop.held_by or "none: Redis cannot be reached"
            raise Refusal(503, f"another scheduler leads ({who}); ask that one, or write the document yourself")

    def _check_usable(self, task: Task) -> None:
        try:
            self._jobs.find(task.job_name).check(task.arguments)
            due = task.trigger(self._flow().scheduler.timezone).get_next_fire_time(None, datetime.now(UTC))
        except UserError as error:
            raise Refusal(422, str(error)) from None
        if due is None or due < datetime.now(UTC):
            raise Refusal(422, "the schedule has no further run")

    def _check_allowed(self, task: Task, move: Move) -> None:
        if move != "delete" and not task.enabled:
            raise Refusal(409, f"the task {task.task_id!r} is disabled: is_enable is 0 in its document")
        self._loop.turn()
        why = allowed(self._state(task.task_id), move)
        if why:
            raise Refusal(409, why, task_id=task.task_id, state=self._state(task.task_id))

    def _state(self, task_id: str) -> State:
        return self._loop.states().get(task_id, "init")

    def _made_real(self, task_id: str, target: State) -> dict[str, Any]:
        """Turn until the task is what it should be, and no run of it is under way unless it is to run."""
        pid = pid_of(self._tasks.machine, task_id)
        deadline = time.monotonic() + PATIENCE_S
        while True:
            self._loop.turn()
            state, record = self._state(task_id), self._loop.runs.of(pid)
            if state == target and (target == "running" or not record.under_way):
                return {"task_id": task_id, "state": state}
            if time.monotonic() > deadline:
                break
            time.sleep(0.1)
        if state == target:
            return {"task_id": task_id, "state": state, "under_way": True}
        raise Refusal(503, f"the wish is written, but the task is {state} still: {record.why or self._loop.trouble}")
