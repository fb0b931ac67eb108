"""The one form of every answer: {"status", "msg", "name", "duration", "data"}."""

from __future__ import annotations

import time
from typing import Any

import msgspec
from flask import Response, g, request


class Refusal(Exception):
    """A request that is answered with an error; nothing was changed unless `msg` says so.

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


def accepted(data: Any, msg: str = "ok") -> Response:
    """An answer to a request that was carried out."""
    return _answer(True, 200, msg, data)


def refused(refusal: Refusal) -> Response:
    """An answer to a request that was not."""
    return _answer(False, refusal.status, refusal.msg, refusal.data)


def _answer(good: bool, status: int, msg: str, data: Any) -> Response:
    duration = round(time.perf_counter() - g.started, 6)
    body = {"status": good, "msg": msg, "name": request.endpoint or "unknown", "duration": duration, "data": data}
    return Response(msgspec.json.encode(body), status, mimetype="application/json")
