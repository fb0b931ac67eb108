"""A Flask application as every room has it. The views, and what errors mean to a caller, are the room's own."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Final

from flask import Flask, Response, request
from werkzeug.exceptions import HTTPException, MethodNotAllowed

from dataflow.access.flask import guard, request_id
from dataflow.access.gate import Denied, Gate
from dataflow.access.scopes import Need
from dataflow.faults import show
from dataflow.web.answer import Refusal, refused, start_clock

_HERE: Final = str(Path(__file__).parent)
"""Said to Flask, which else asks for the working folder: a deployment may have replaced that by a new one."""

Explain = Callable[[Exception], Refusal | None]
"""What a caller is told of an error; None: nobody expected it."""


def make_app(
    name: str,
    gate: Gate,
    needs: Mapping[str, Need],
    explain: Explain,
    *,
    addresses: str,
    bug: Refusal,
    refusal: type[Refusal] = Refusal,
) -> Flask:
    """An application without views: its answers have our form, its callers pass the gate.

    Args:
        name: of the application; its errors are logged as `dataflow.<name>`.
        gate: lets callers in.
        needs: endpoint -> what it needs.
        explain: what callers are told of the core's errors.
        addresses: in words, where requests go; told to whoever asks for an address that does not exist.
        bug: the answer after an error that nobody expected; its traceback goes to the log alone.
        refusal: the form of a refusal in this room.
    """
    app = Flask(name, static_folder=None, root_path=_HERE, instance_path=_HERE)
    app.before_request(start_clock)
    guard(app, gate, needs)
    errors = _Errors(logging.getLogger(f"dataflow.{name}"), explain, addresses, bug, refusal)
    app.register_error_handler(Refusal, refused)
    app.register_error_handler(Denied, errors.denied)
    app.register_error_handler(HTTPException, errors.http)
    app.register_error_handler(Exception, errors.other)
    return app


@dataclass(frozen=True, slots=True)
class _Errors:
    """What becomes of errors."""

    log: logging.Logger
    explain: Explain
    addresses: str
    bug: Refusal
    refusal: type[Refusal]

    def denied(self, error: Denied) -> Response:
        return refused(self.refusal(error.status, str(error), headers=error.headers, **error.data))

    def http(self, error: HTTPException) -> Response:
        """What Flask itself refuses: no such address, wrong method, a request that broke off."""
        text = error.description or error.name
        if error.code == HTTPStatus.NOT_FOUND:
            text = f"there is nothing at {show(request.path)}; {self.addresses}"
        if isinstance(error, MethodNotAllowed):
            takes = ", ".join(error.valid_methods or ())
            text = f"{request.method} is not what {show(request.path)} takes, but {takes}"
        headers = {name: value for name, value in error.get_headers() if name != "Content-Type"}
        return refused(self.refusal(error.code or 500, text, headers=headers))

    def other(self, error: Exception) -> Response:
        refusal = self.explain(error)
        if refusal is None:
            self.log.error("a request failed", exc_info=error, extra={"request": request_id()})
        return refused(refusal or self.bug)
