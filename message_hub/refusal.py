"""Why a request is refused, and which HTTP status says so."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import groupby, islice
from operator import attrgetter
from typing import Any

from redis.exceptions import ResponseError

from dataflow.errors import (
    Fault,
    InvalidMessage,
    NotDeclared,
    OutcomeUnknown,
    ServerAway,
    ServerFull,
    StreamFull,
    UnknownName,
)
from dataflow.store.door import KeyReused
from dataflow.web import answer

MAX_ERRORS_PER_MESSAGE = 20
"""Faults of one message that are named; of the rest their number is told. Every bad message is named."""


class Refusal(answer.Refusal):
    """A request that is answered with an error; nothing of it was stored unless `data` says that this is unknown.

    Args:
        status: HTTP status.
        msg: one sentence: what is wrong and what to do.
        faults: what is wrong with which message.
        headers: of the answer.
        data: further facts for the answer's `data`.
    """

    def __init__(
        self,
        status: int,
        msg: str,
        faults: Sequence[Fault] = (),
        *,
        headers: Mapping[str, str] | None = None,
        **data: Any,
    ) -> None:
        self.faults = faults
        errors = errors_of(faults)
        super().__init__(status, msg, headers=headers, **data, errors=errors, more=len(faults) - len(errors))


def errors_of(faults: Sequence[Fault]) -> list[dict[str, Any]]:
    """The first faults of every message as plain data."""
    return [
        {"index": fault.index, "field": fault.field, "code": fault.code, "text": fault.text}
        for _, of_message in groupby(faults, key=attrgetter("index"))
        for fault in islice(of_message, MAX_ERRORS_PER_MESSAGE)
    ]


def refusal_of(error: Exception) -> Refusal | None:
    """What a caller who wanted something stored is told of an error; None for one that should not reach the door.

    A ResponseError is a command that Redis would not carry out (read-only replica, disk full, no permission ...):
    scripts check before they write.
    """
    match error:
        case InvalidMessage():
            return Refusal(422, f"nothing was stored: {error}", error.faults)
        case KeyReused():
            return Refusal(422, f"nothing was stored: {error}")
        case UnknownName():
            return Refusal(404, f"nothing was stored: {error}")
        case StreamFull():
            data: dict[str, Any] = {
                "stream": error.stream,
                "depth": error.depth,
                "max_len": error.max_len,
                "outcome": "not_stored",
            }
            return Refusal(429, f"{error}; send it again after Retry-After seconds", **data)
        case ServerFull():
            return Refusal(429, f"{error}; send it again later", outcome="not_stored")
        case NotDeclared() | ServerAway():
            return Refusal(503, f"nothing was stored: {error}", outcome="not_stored")
        case OutcomeUnknown():
            text = f"the outcome is unknown: {error}; send it again with the same Idempotency-Key"
            return Refusal(503, text, outcome="unknown")
        case ResponseError():
            text = f"nothing was stored: Redis refused: {error}"
            return Refusal(503, text, outcome="not_stored")
    return None


def refusal_to_look(error: Exception) -> Refusal | None:
    """What a caller who only wanted to look is told of an error; None for one that should not reach the door."""
    match error:
        case NotDeclared() | ServerAway() | OutcomeUnknown() | ResponseError():
            return Refusal(503, f"cannot look: {error}")
    return None
