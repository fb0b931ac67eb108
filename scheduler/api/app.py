"""The API as a Flask application."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from flask import Flask, Response
from flask.typing import RouteCallable

from dataflow import __version__
from dataflow.access.flask import may, note
from dataflow.access.gate import Gate
from dataflow.access.scopes import OPEN, Need, needs
from dataflow.errors import DataflowError, OutcomeUnknown, ServerAway
from dataflow.flow.spec import Flow
from dataflow.web.answer import Refusal, accepted
from dataflow.web.app import make_app
from dataflow.web.body import json_object
from scheduler.api.acts import Acts
from scheduler.api.body import document_of, shown, task_id_of
from scheduler.api.registering import register
from scheduler.jobs.kinds import Jobs
from scheduler.loop import Loop
from scheduler.machine import Move
from scheduler.tasks import AmbiguousTask, Tasks

MAX_BODY_BYTES: Final = 1 << 20


class Views:
    """One method per address."""

    def __init__(self, loop: Loop, tasks: Tasks, jobs: Jobs, flow: Callable[[], Flow]) -> None:
        self._loop, self._tasks, self._jobs, self._flow = loop, tasks, jobs, flow
        self._acts = Acts(loop, tasks, jobs, flow)

    def get_jobs(self) -> Response:
        """Ids of all tasks that are scheduled, the paused ones included."""
        return accepted(sorted(self._loop.states()))

    def get_jobs_status(self) -> Response:
        """The tasks that are not paused, and when each is due next, in local time."""
        due = self._loop.next_runs()
        states = self._loop.states()
        active = sorted(task_id for task_id, state in states.items() if state == "running" and task_id in due)
        return accepted({t: {"next_run_time": f"{due[t]:%Y-%m-%d %H:%M:%S}", "pending": False} for t in active})

    def publish_a_task(self) -> Response:
        """Schedule a task."""
        document = document_of(json_object())
        note(document["task_id"], job=document["job_name"])
        return accepted(self._acts.publish(document))

    def pause_a_task(self) -> Response:
        """Let a task's ticks not fire."""
        return self._move("pause")

    def resume_a_task(self) -> Response:
        """Let them fire again."""
        return self._move("resume")

    def remove_a_task(self) -> Response:
        """Take a task off the schedule; its document stays, with the wish to be init."""
        return self._move("delete")

    def add_task_type(self) -> Response:
        """Give a name to an installed function."""
        body = json_object()
        note(_noted(body.get("func_name")), function=_noted(body.get("function")))
        return accepted(register(body, self._jobs, self._tasks))

    def livez(self) -> Response:
        """The process answers."""
        return accepted({})

    def version(self) -> Response:
        """Which program, which flow, which machine name."""
        flow = self._flow()
        return accepted({"version": __version__, "flow": flow.name, "machine": flow.machine})

    def readyz(self) -> Response:
        """Whether tasks are scheduled, here or by the one that leads; without a key that is asked for, yes or no."""
        loop = self._loop
        data: dict[str, Any] = {
            "leads": loop.leads,
            "held_by": loop.held_by,
            "trouble": loop.trouble,
            "tasks": len(loop.states()),
        }
        ready = loop.ready and (loop.leads or loop.held_by)
        if not may("viewer"):
            data, why = {}, "not ready"
        else:
            why = f"not ready: {loop.trouble or 'nobody schedules'}"
        if not ready:
            raise Refusal(503, why, **data)
        return accepted(data)

    def _move(self, move: Move) -> Response:
        task_id = task_id_of(json_object())
        note(task_id)
        return accepted(self._acts.move(task_id, move))


NEEDS: Final[Mapping[str, Need]] = {
    "get_jobs": needs("viewer"),
    "get_jobs_status": needs("viewer"),
    "publish_a_task": needs("operate"),
    "pause_a_task": needs("operate"),
    "resume_a_task": needs("operate"),
    "remove_a_task": needs("operate"),
    "add_task_type": needs("admin"),
    "livez": OPEN,
    "readyz": OPEN,
    "version": needs("viewer"),
}
"""What each address asks of a key, by its name."""


def create_app(loop: Loop, tasks: Tasks, jobs: Jobs, flow: Callable[[], Flow], gate: Gate) -> Flask:
    """The application for one loop, which runs elsewhere in this process. `gate` lets its callers in."""
    bug = Refusal(500, "the scheduler has failed; see its log")
    app = make_app("scheduler", gate, NEEDS, _explain, addresses="tasks are published at /publish_a_task/", bug=bug)
    app.config["MAX_CONTENT_LENGTH"] = MAX_BODY_BYTES
    app.url_map.strict_slashes = False
    for method, view in _routes(Views(loop, tasks, jobs, flow)):
        name = view.__name__
        app.add_url_rule(f"/{name}/", name, view, methods=[method])
    return app


def _noted(value: object) -> str:
    return value if isinstance(value, str) else shown(value)


def _routes(views: Views) -> list[tuple[str, RouteCallable]]:
    """Method and view; the address is the view's name, also without the slash at the end."""
    return [
        ("GET", views.get_jobs),
        ("GET", views.get_jobs_status),
        ("POST", views.publish_a_task),
        ("POST", views.pause_a_task),
        ("POST", views.resume_a_task),
        ("POST", views.remove_a_task),
        ("POST", views.add_task_type),
        ("GET", views.livez),
        ("GET", views.readyz),
        ("GET", views.version),
    ]


def _explain(error: Exception) -> Refusal | None:
    match error:
        case AmbiguousTask():
            return Refusal(409, str(error))
        case ServerAway() | OutcomeUnknown():
            return Refusal(503, str(error))
        case DataflowError():
            return Refusal(500, str(error))
    return None
