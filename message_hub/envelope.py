"""The one form of every answer: {"status", "msg", "name", "duration", "data"}."""

from __future__ import annotations

import time
from collections.abc import Sequence
from itertools import groupby, islice
from operator import attrgetter
from typing import Any

import msgspec
from flask import Response, g, request

from dataflow.errors import Fault
from message_hub.refusal import Refusal

MAX_ERRORS_PER_MESSAGE = 20
"""Faults of one message that are named; of the rest their number is told. Every bad message is named."""

_encode = msgspec.json.Encoder().encode


def start_clock() -> None:
    """Note when a request began; runs before every request."""
    g.started = time.perf_counter()


def accepted(data: dict[str, Any], *, status: int = 200, msg: str = "ok") -> Response:
    """An answer to a request that was carried out."""
    return _answer(True, status, msg, data)


def refused(refusal: Refusal) -> Response:
    """An answer to a request that was not."""
    errors = errors_of(refusal.faults)
    data = {**refusal.data, "errors": errors, "more": len(refusal.faults) - len(errors)}
    answer = _answer(False, refusal.status, refusal.msg, data)
    answer.headers.update(refusal.headers)
    return answer


def bare(data: dict[str, Any]) -> Response:
    """An answer without envelope, for programs that poll numbers."""
    return Response(_encode(data), mimetype="application/json")


def errors_of(faults: Sequence[Fault]) -> list[dict[str, Any]]:
    """The first faults of every message as plain data."""
    return [
        {"index": fault.index, "field": fault.field, "code": fault.code, "text": fault.text}
        for _, of_message in groupby(faults, key=attrgetter("index"))
        for fault in islice(of_message, MAX_ERRORS_PER_MESSAGE)
    ]


def _answer(good: bool, status: int, msg: str, data: dict[str, Any]) -> Response:
    name = request.endpoint or "unknown"
    duration = round(time.perf_counter() - g.started, 6)
    body = {"status": good, "msg": msg, "name": name, "duration": duration, "data": data}
    return Response(_encode(body), status, mimetype="application/json")
