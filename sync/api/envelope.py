"""The forms of answers: {"status", "msg", "name", "duration", "data"}, or bare text or JSON."""

from __future__ import annotations

import time
from typing import Any

import msgspec
from flask import Response, g, request


class Refusal(Exception):
    """A request that is answered with an error; no run was asked for unless `msg` says so.

    Args:
        status: HTTP status.
        msg: what is wrong and what to do.
        data: further facts.
    """

    def __init__(self, status: int, msg: str, **data: Any) -> None:
        self.status, self.msg, self.data = status, msg, data
        super().__init__(msg)


def start_clock() -> None:
    """Note when a request began; runs before every request."""
    g.started = time.perf_counter()


def wants_json() -> bool:
    """Whether the caller has asked for JSON; one who takes anything gets text, as older clients expect."""
    return request.accept_mimetypes.best_match(("text/plain", "application/json")) == "application/json"


def accepted(data: Any, msg: str = "ok") -> Response:
    """An answer to a request that was carried out."""
    return _answer(True, 200, msg, data)


def refused(refusal: Refusal) -> Response:
    """An answer to a request that was not."""
    answer = _answer(False, refusal.status, refusal.msg, refusal.data)
    if refusal.status in (429, 503):
        answer.headers["Retry-After"] = "1"
    return answer


def bare(data: Any, status: int = 200) -> Response:
    """JSON without the envelope."""
    return Response(msgspec.json.encode(data), status, mimetype="application/json")


def plain(text: str, status: int = 200) -> Response:
    """One line of text, without a line break."""
    return Response(text, status, mimetype="text/plain")


def _answer(good: bool, status: int, msg: str, data: Any) -> Response:
    duration = round(time.perf_counter() - g.started, 6)
    body = {"status": good, "msg": msg, "name": request.endpoint or "unknown", "duration": duration, "data": data}
    return Response(msgspec.json.encode(body), status, mimetype="application/json")
