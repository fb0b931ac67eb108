"""Why a request is refused, and which HTTP status says so."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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

RETRY_AFTER_S = 1
"""What a caller is told to wait when a stream is full or a server away."""


class Refusal(Exception):
    """A request that is answered with an error; nothing of it was stored unless `data` says that this is unknown.

    Args:
        status: HTTP status.
        msg: one sentence: what is wrong and what to do.
        faults: what is wrong with which message.
        data: further facts for the answer's `data`.
        headers: of the answer.
    """

    def __init__(
        self,
        status: int,
        msg: str,
        faults: Sequence[Fault] = (),
        data: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        self.status = status
        self.msg = msg
        self.faults = faults
        self.data = data or {}
        self.headers = headers or {}
        super().__init__(msg)


def refusal_of(error: Exception) -> Refusal | None:
    """What a caller who wanted something stored is told of an error; None for one that should not reach the door.

    A ResponseError is a command that Redis would not carry out (read-only replica, disk full, no permission ...):
    scripts check before they write.
    """
    wait = {"Retry-After": str(RETRY_AFTER_S)}
    match error:
        case InvalidMessage():
            return Refusal(422, f"nothing was stored: {error}", error.faults)
        case KeyReused():
            return Refusal(422, f"nothing was stored: {error}")
        case UnknownName():
            return Refusal(404, f"nothing was stored: {error}")
        case StreamFull():
            data = {"stream": error.stream, "depth": error.depth, "max_len": error.max_len, "outcome": "not_stored"}
            return Refusal(429, f"{error}; send it again after Retry-After seconds", data=data, headers=wait)
        case ServerFull():
            return Refusal(429, f"{error}; send it again later", data={"outcome": "not_stored"}, headers=wait)
        case NotDeclared() | ServerAway():
            return Refusal(503, f"nothing was stored: {error}", data={"outcome": "not_stored"}, headers=wait)
        case OutcomeUnknown():
            text = f"the outcome is unknown: {error}; send it again with the same Idempotency-Key"
            return Refusal(503, text, data={"outcome": "unknown"}, headers=wait)
        case ResponseError():
            text = f"nothing was stored: Redis refused: {error}"
            return Refusal(503, text, data={"outcome": "not_stored"}, headers=wait)
    return None


def refusal_to_look(error: Exception) -> Refusal | None:
    """What a caller who only wanted to look is told of an error; None for one that should not reach the door."""
    match error:
        case NotDeclared() | ServerAway() | OutcomeUnknown() | ResponseError():
            return Refusal(503, f"cannot look: {error}", headers={"Retry-After": str(RETRY_AFTER_S)})
    return None
