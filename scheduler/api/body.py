"""What requests carry. Pure: a JSON object in, a checked value out, or a Refusal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from dataflow.faults import kind, show
from dataflow.masking import is_secret_name
from dataflow.schedule import BOUNDS, CRON_FIELDS, INTERVAL_FIELDS
from dataflow.web.answer import Refusal

MAX_ID: Final = 200
MAX_DEPTH: Final = 20
"""How deep the arguments of a task may be nested."""

_FORMS: Final[Mapping[str, tuple[str, ...]]] = {
    "cron": CRON_FIELDS,
    "interval": INTERVAL_FIELDS,
    "date": ("run_date",),
}
_COMMON: Final = ("task_id", "task_name", "task_type", "task_kwargs", "description", "timezone", *BOUNDS)


def task_id_of(body: Mapping[str, Any]) -> str:
    """The task that a request is about."""
    found = body.get("task_id")
    if not isinstance(found, str) or not 0 < len(found) <= MAX_ID or not found.isprintable():
        raise Refusal(422, f"task_id must be text of 1 to {MAX_ID} characters, not {shown(found)}")
    return found


def shown(value: object) -> str:
    """A value of a body in a sentence. One that holds others is told by its kind: it may be nested too deep."""
    return kind(value) if isinstance(value, dict | list) else show(repr(value))


def document_of(body: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of a TaskTable document that a request to publish stands for. Null counts as absent."""
    given = {name: value for name, value in body.items() if value is not None}
    for name, value in given.items():
        if name != "task_kwargs" and isinstance(value, dict | list):
            raise Refusal(422, f"{show(name)} must be text or a number, not {kind(value)}")
    form = given.get("task_type", "cron")
    if not isinstance(form, str) or form not in _FORMS:
        raise Refusal(422, f"task_type must be one of {', '.join(_FORMS)}, not {shown(form)}")
    strange = [name for name in given if name not in (*_COMMON, *_FORMS[form])]
    if strange:
        raise Refusal(422, f"a task of type {form} has no field {', '.join(strange)}")
    if not isinstance(given.get("task_name"), str):
        raise Refusal(422, "task_name must name a job, for example s2ch, make_a_request or module:function")
    kwargs = given.get("task_kwargs", {})
    if not isinstance(kwargs, dict):
        raise Refusal(422, "task_kwargs must be an object")
    _check_storable(kwargs, "task_kwargs", MAX_DEPTH)
    _refuse_secrets(given["task_name"], kwargs)
    return {
        "task_id": task_id_of(given),
        "job_name": given["task_name"],
        "interval_para": _schedule(form, given),
        "start_dt": str(given.get("start_date", "")),
        "end_dt": str(given.get("end_date", "")),
        "task_kwargs": kwargs,
        **({"description": str(given["description"])} if "description" in given else {}),
    }


def _refuse_secrets(job: str, kwargs: Mapping[str, Any]) -> None:
    """Edges need no secrets of a document, which is shown to whoever may look at tasks."""
    if job == "make_a_request" or ":" in job:
        return
    for name in kwargs:
        if is_secret_name(name):
            why = "is a secret, and none is taken by HTTP: the flow file's connection has it. Leave it out"
            raise Refusal(422, f"{show(name)} {why}")


def _check_storable(value: Any, where: str, depth: int) -> None:
    """Refuse what no document can hold."""
    if depth == 0:
        raise Refusal(422, f"{where} is nested more than {MAX_DEPTH} deep")
    match value:
        case bool():
            pass
        case int() if not -(2**63) <= value < 2**63:
            raise Refusal(422, f"{where} is a number beyond 64 bits")
        case dict():
            for name, inner in value.items():
                if "\0" in name:
                    raise Refusal(422, f"a name in {where} holds a zero byte")
                _check_storable(inner, f"{where}.{show(name)}", depth - 1)
        case list():
            for inner in value:
                _check_storable(inner, where, depth - 1)


def _schedule(form: str, given: Mapping[str, Any]) -> dict[str, Any]:
    fields = {name: given[name] for name in _FORMS[form] if name in given}
    zone = {"timezone": given["timezone"]} if "timezone" in given else {}
    return {**fields, **zone} if form == "cron" else {form: {**fields, **zone}}
