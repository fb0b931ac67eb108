"""What a user's handler sees of us: its context and the signals it may raise or return."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from logging import Logger
from typing import Any


class Reject(Exception):
    """Raised by a handler: this message cannot be processed, ever. It goes to the dead letters at once."""


class Retry(Exception):
    """Raised by a handler: not now. The message is parked and comes back after `after_s` seconds.

    It uses no attempt up, but a message that is put off for longer than the worker's `max_retry_s` is a dead letter.

    Args:
        after_s: seconds to wait, at least 0.
        reason: kept with the message and shown by `dataflow dlq` should it die later.
    """

    def __init__(self, after_s: float = 1.0, reason: str = "the handler asked for a retry") -> None:
        if not after_s >= 0:
            raise ValueError(f"Retry(after_s={after_s!r}): seconds must be 0 or more")
        self.after_s = after_s
        super().__init__(reason)


@dataclass(frozen=True, slots=True)
class To:
    """Returned by a handler of a worker with several targets: write `message` to `stream`."""

    stream: str
    message: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Context:
    """What a handler may know about its work.

    Given to `setup(context, **params)` and, where a handler asks for a second argument, to each call.
    In setup and in batch calls `mid` is empty and `attempt` is 0. `attempt` is 1 on the first try.
    """

    worker: str
    stream: str
    logger: Logger
    mid: str = ""
    attempt: int = 0
