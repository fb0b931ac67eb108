"""Registering jobs by HTTP: names for installed functions. Source code is never taken."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from dataflow.web.answer import Refusal
from scheduler.api.body import shown
from scheduler.jobs.kind import BadJob
from scheduler.jobs.kinds import Jobs
from scheduler.tasks import Tasks

HOW: Final = (
    "put the function into a module that is installed or lies beside the flow file; list the module in the flow file: "
    "`scheduler: {modules: [my_jobs]}`; restart or `dataflow apply`; then name it as a task's job_name: "
    '"my_jobs:my_function", or register a name for it here: {"func_name": "my_name", "function": "my_jobs:my_function"}'
)


def register(body: Mapping[str, Any], jobs: Jobs, tasks: Tasks) -> dict[str, str]:
    """Register a job. Raises Refusal, ServerAway, TasksRefused."""
    name, function = body.get("func_name"), body.get("function")
    if "func_body" in body:
        raise Refusal(422, _no_source(name, jobs), how=HOW)
    if not isinstance(name, str) or not name.isprintable() or not 0 < len(name) <= 200 or ":" in name:
        raise Refusal(422, f"func_name must be a name without a colon, not {shown(name)}", how=HOW)
    if jobs.is_fixed(name):
        raise Refusal(409, f"the job {name!r} is built in")
    if not isinstance(function, str):
        raise Refusal(422, "function must be module:function", how=HOW)
    try:
        jobs.function(function).check({})
    except BadJob as error:
        raise Refusal(422, str(error), how=HOW) from None
    tasks.register(name, function)
    jobs.types = {**jobs.types, name: function}
    return {"func_name": name, "function": function}


def _no_source(name: object, jobs: Jobs) -> str:
    if isinstance(name, str) and jobs.is_fixed(name):
        return f"source code is not taken over HTTP, and need not be: the job {name!r} is built in"
    return "source code is not taken over HTTP: it would let anyone who reaches this port run anything here"
