"""The forms of answers: {"status", "msg", "name", "duration", "data"}, or bare text or JSON."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any, Final

import msgspec
from flask import Response, g, request

from dataflow.masking import mask_urls

RETRY_AFTER_S: Final = 1
"""What a caller is told to wait where nothing else is known, when it is refused for now (429, 503)."""

_encode = msgspec.json.Encoder().encode


class Refusal(Exception):
    """A request that is answered with an error; nothing was changed unless `msg` says so.

    Args:
        status: HTTP status.
        msg: one sentence: what is wrong and what to do.
        headers: of the answer.
        data: further facts.
    """

    def __init__(self, status: int, msg: str, *, headers: Mapping[str, str] | None = None, **data: Any) -> None:
        self.status = status
        self.msg = msg
        self.headers = headers or {}
        self.data = data
        super().__init__(msg)


def start_clock() -> None:
    """Note when a request began; runs before every request."""
    g.started = time.perf_counter()


def accepted(data: Any, *, status: int = 200, msg: str = "ok") -> Response:
    """An answer to a request that was carried out."""
    return _answer(True, status, msg, data)


def refused(refusal: Refusal) -> Response:
    """An answer to a request that was not. One that may succeed later says when to try again."""
    answer = _answer(False, refusal.status, refusal.msg, refusal.data)
    if refusal.status in (429, 503):
        answer.headers["Retry-After"] = str(RETRY_AFTER_S)
    answer.headers.update(refusal.headers)
    return answer


def bare(data: Any, status: int = 200) -> Response:
    """JSON without the envelope, for programs that poll numbers."""
    return Response(_encode(data), status, content_type="application/json")


def plain(text: str, status: int = 200) -> Response:
    """One line of text, without a line break."""
    return Response(text, status, mimetype="text/plain")


def wants_json() -> bool:
    """Whether the caller has asked for JSON; one who takes anything gets text, as older clients expect."""
    return request.accept_mimetypes.best_match(("text/plain", "application/json")) == "application/json"


def _answer(good: bool, status: int, msg: str, data: Any) -> Response:
    duration = round(time.perf_counter() - g.started, 6)
    body = {
        "status": good,
        "msg": mask_urls(msg),
        "name": request.endpoint or "unknown",
        "duration": duration,
        "data": data,
    }
    return Response(_encode(body), status, content_type="application/json")
