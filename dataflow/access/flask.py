"""The gate before every view of a Flask application, ids of requests, and the history of what they changed.

Which scope a view needs is said in one mapping: endpoint -> need. A view that is not in it needs `admin`, so that one
that was forgotten is closed. Addresses that do not exist ask for a key, too: without one nobody finds out which do.
"""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Mapping
from typing import Any, Final, TypeVar

from flask import Flask, Response, g, request

from dataflow.access import history
from dataflow.access.gate import NOBODY, Caller, Gate
from dataflow.access.scopes import ANY_KEY, OPEN, Need, Scope, needs

log = logging.getLogger("dataflow.access")
T = TypeVar("T")

REQUEST_ID: Final = "X-Request-ID"

_ID: Final = re.compile(r"[\x21-\x7e]{1,128}")
_ENVIRON_ID: Final = "HTTP_X_REQUEST_ID"
_ASKED: Final = {"Authorization": "HTTP_AUTHORIZATION", "X-API-Key": "HTTP_X_API_KEY", "Host": "HTTP_HOST"}
"""What the gate looks at, and how WSGI calls it: read there, a header costs a tenth."""
_ADMIN: Final = needs("admin")
_CHANGES: Final[frozenset[Scope]] = frozenset({"operate", "admin"})


def guard(app: Flask, gate: Gate, required: Mapping[str, Need]) -> None:
    """Put the gate before every view, and the id of the request into every answer.

    The application answers Denied, ServerAway, OutcomeUnknown and ServerFull in its own form. What a request that
    needs `operate` or `admin` changed is written into the history; a view may say more about it by `note`.

    Args:
        required: endpoint -> what it needs.
    """

    def before() -> None:
        now, asked = _present(g), _present(request)
        now.request_id = _request_id(asked.environ)
        now.gate = gate
        endpoint = asked.endpoint
        now.need = need = ANY_KEY if endpoint is None else required.get(endpoint, _ADMIN)
        if need is OPEN:  # who asks is looked up when a view wants to know: a probe waits for no server
            return
        now.caller = NOBODY
        now.caller = gate.admit(_headers(asked.environ), need)

    def after(response: Response) -> Response:
        now = _present(g)
        response.headers[REQUEST_ID] = now.get("request_id", "")
        changes = now.need and now.need <= _CHANGES
        if changes and not 400 <= response.status_code < 500 and "caller" in g:
            subject, facts = g.get("noted", ("", {}))
            redis, keys = gate.where()
            what, facts = str(request.endpoint), {**facts, "status": response.status_code}
            log.info("%s %s by %s", what, subject, who(), extra={"request": request_id(), "facts": facts})
            history.record(redis, keys, who(), what, subject, request=request_id(), **facts)
        return response

    app.before_request(before)
    app.after_request(after)


def may(scope: Scope) -> bool:
    """Whether the caller of the request in hand may do this."""
    return scope in _caller().may


def caller_name() -> str:
    """The name of the caller's key; empty without one."""
    return _caller().name


def who() -> str:
    """Who asks, for the history: the key, or the address that the request came from."""
    caller = _caller()
    return f"key {caller.key_id} {caller.name}" if caller.key_id else f"http {request.remote_addr or '?'}"


def request_id() -> str:
    """The id of the request in hand: the caller's own if it sent a usable one."""
    return str(g.get("request_id", ""))


def note(subject: str, **facts: Any) -> None:
    """Say what the request in hand changes; it goes into the history if it does."""
    g.noted = (subject, facts)


def _caller() -> Caller:
    if "caller" not in g:
        g.caller = g.gate.admit(_headers(request.environ), OPEN)
    caller: Caller = g.caller
    return caller


def _headers(environ: Mapping[str, Any]) -> dict[str, str]:
    return {name: environ[key] for name, key in _ASKED.items() if key in environ}


def _request_id(environ: Mapping[str, Any]) -> str:
    given = environ.get(_ENVIRON_ID, "")
    return given if given and _ID.fullmatch(given) else os.urandom(16).hex()


def _present(proxy: T) -> T:
    """What stands behind a proxy of Flask's just now: each access through the proxy costs as much as ten to this."""
    present: T = proxy._get_current_object()  # type: ignore[attr-defined]
    return present
