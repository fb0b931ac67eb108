"""What becomes of a message whose handling failed: pure decisions, the clock included."""

from __future__ import annotations

import traceback

from dataflow.errors import InvalidMessage
from dataflow.handler import Reject, Retry
from dataflow.store.hop import Dead, Park

FIRST_BACKOFF_S = 1.0
LONGEST_BACKOFF_S = 60.0
ERROR_CHARS = 4000


class BadOutput(Exception):
    """The handler returned something that no message can be made of."""


class Crashed(Exception):
    """The process died, or was killed for running too long, while this message ran alone."""


def backoff_s(attempt: int) -> float:
    """Seconds to wait after the given attempt (from 1) has failed: 1, 2, 4 ... up to 60."""
    return float(min(LONGEST_BACKOFF_S, FIRST_BACKOFF_S * 2 ** min(attempt - 1, 30)))


def after_failure(error: BaseException, attempt: int, max_attempts: int, now_ms: int) -> Dead | Park:
    """The fate of a message that failed alone, in its `attempt`-th attempt.

    A Retry does not use an attempt up. A Reject, an undecodable message and a nonsensical answer would not get
    better by trying again.
    """
    if isinstance(error, Retry):
        return Park(now_ms + int(error.after_s * 1000), attempt - 1)
    if isinstance(error, Reject):
        return Dead("rejected", str(error) or "the handler rejected the message", attempt)
    if isinstance(error, InvalidMessage):
        return Dead("invalid", str(error), attempt)
    if isinstance(error, BadOutput):
        return Dead("bad_output", str(error), attempt)
    if attempt >= max_attempts and isinstance(error, Crashed):
        return Dead("crashed", f"the process died or ran out of time while handling it, {attempt} times", attempt)
    if attempt >= max_attempts:
        return Dead("failed", describe(error), attempt)
    return Park(now_ms + int(backoff_s(attempt) * 1000), attempt)


def describe(error: BaseException) -> str:
    """The error and where it was raised, in bounded length, the end kept."""
    return "".join(traceback.format_exception(error)).strip()[-ERROR_CHARS:]
