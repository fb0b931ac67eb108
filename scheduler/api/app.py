"""The API as a Flask application."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

from flask import Flask, Response, request
from flask.typing import RouteCallable
from werkzeug.exceptions import HTTPException

from dataflow import __version__
from dataflow.access.flask import guard, may, note, request_id
from dataflow.access.gate import Denied, Gate
from dataflow.access.scopes import OPEN, Need, needs
from dataflow.errors import DataflowError, OutcomeUnknown, ServerAway
from dataflow.flow.spec import Flow
from scheduler.api.acts import Acts
from scheduler.api.body import document_of, parse, task_id_of
from scheduler.api.envelope import Refusal, accepted, refused, start_clock
from scheduler.api.registering import register
from scheduler.jobs.kinds import Jobs
from scheduler.loop import Loop
from scheduler.machine import Move
from scheduler.tasks import Tasks

log = logging.getLogger("dataflow.scheduler")

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
        document = document_of(_body())
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
        body = _body()
        note(str(body.get("func_name")), function=str(body.get("function")))
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
        data = {"leads": loop.leads, "held_by": loop.held_by, "trouble": loop.trouble, "tasks": len(loop.states())}
        ready = loop.ready and (loop.leads or loop.held_by)
        if not may("viewer"):
            data, why = {}, "not ready"
        else:
            why = f"not ready: {loop.trouble or 'nobody schedules'}"
        if not ready:
            raise Refusal(503, why, **data)
        return accepted(data)

    def _move(self, move: Move) -> Response:
        task_id = task_id_of(_body())
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
    app = Flask("scheduler", static_folder=None, root_path=str(Path(__file__).parent))
    app.config["MAX_CONTENT_LENGTH"] = MAX_BODY_BYTES
    app.url_map.strict_slashes = False
    app.before_request(start_clock)
    guard(app, gate, NEEDS)
    for method, view in _routes(Views(loop, tasks, jobs, flow)):
        name = view.__name__
        app.add_url_rule(f"/{name}/", name, view, methods=[method])
    app.register_error_handler(Refusal, refused)
    app.register_error_handler(Denied, _denied)
    app.register_error_handler(DataflowError, _dataflow_error)
    app.register_error_handler(HTTPException, _http_error)
    app.register_error_handler(Exception, _bug)
    return app


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


def _body() -> dict[str, Any]:
    """The JSON object of the request. The type is asked for, so that no page in a browser can send one."""
    if not request.is_json:
        raise Refusal(415, "send JSON with Content-Type: application/json")
    return parse(request.get_data(cache=False))


def _denied(error: Denied) -> Response:
    answer = refused(Refusal(error.status, str(error), **error.data))
    answer.headers.update(error.headers)
    return answer


def _dataflow_error(error: DataflowError) -> Response:
    status = 503 if isinstance(error, ServerAway | OutcomeUnknown) else 500
    return refused(Refusal(status, str(error)))


def _http_error(error: HTTPException) -> Response:
    answer = refused(Refusal(error.code or 500, error.description or error.name))
    answer.headers.update({name: value for name, value in error.get_headers() if name != "Content-Type"})
    return answer


def _bug(error: Exception) -> Response:
    log.error("a request failed", exc_info=error, extra={"request": request_id()})
    return refused(Refusal(500, "the scheduler has failed; see its log"))
