"""What becomes of a message whose handling failed: pure decisions, the clock included."""

from __future__ import annotations

import math
import traceback
from collections.abc import Sequence

from dataflow.errors import InvalidMessage
from dataflow.handler import Reject, Retry
from dataflow.masking import mask_urls
from dataflow.message import SINCE
from dataflow.store.outcomes import Dead, Park

FIRST_BACKOFF_S = 1.0
LONGEST_BACKOFF_S = 60.0
LONGEST_RETRY_S = 366 * 86400.0
ERROR_CHARS = 4000
"""Characters of an error that are kept with a dead letter."""


class BadOutput(Exception):
    """The handler returned something that no message can be made of."""


class Crashed(Exception):
    """The process died, or was killed for running too long, while this message ran alone."""


def backoff_s(attempt: int) -> float:
    """Seconds to wait after the given attempt (from 1) has failed: 1, 2, 4 ... up to 60."""
    return min(LONGEST_BACKOFF_S, FIRST_BACKOFF_S * 2.0 ** min(attempt - 1, 30))


def after_failure(
    error: BaseException, attempt: int, max_attempts: int, now_ms: int, retry_until_ms: float
) -> Dead | Park:
    """The fate of a message that failed alone, in its `attempt`-th attempt.

    A Retry does not use an attempt up; it is heeded until `retry_until_ms`, when the last try is made. A Reject, an
    undecodable message and a nonsensical answer would not get better by trying again.
    """
    if isinstance(error, Retry):
        if now_ms >= retry_until_ms:
            return Dead("retried_too_long", f"Retry for longer than max_retry_s allows: {named(error)}", attempt)
        due_ms = now_ms + int(min(error.after_s, LONGEST_RETRY_S) * 1000)
        return Park(min(due_ms, math.ceil(retry_until_ms)), attempt - 1)
    if isinstance(error, Reject):
        return Dead("rejected", told(error) or "the handler rejected the message", attempt)
    if isinstance(error, InvalidMessage):
        return Dead("invalid", told(error), attempt)
    if isinstance(error, BadOutput):
        return Dead("bad_output", told(error), attempt)
    if attempt < max_attempts:
        return Park(now_ms + int(backoff_s(attempt) * 1000), attempt)
    if isinstance(error, Crashed):
        return Dead("crashed", f"the process died or ran out of time while handling it, {attempt} times", attempt)
    return Dead("failed", described(error), attempt)


def failing_since_ms(fields: Sequence[bytes], now_ms: int) -> int:
    """When an entry first had to come back (ms since 1970); now, if it never did."""
    names = fields[::2]
    since = fields[2 * names.index(SINCE) + 1] if SINCE in names else b""
    return int(since) if since.isdigit() else now_ms


def told(error: BaseException) -> str:
    """What an error says of itself, in bounded length, its beginning kept. Never raises."""
    try:
        text = str(error)
    except Exception:  # noqa: BLE001 - the user's class may do anything
        text = f"{type(error).__name__} (its text cannot be told)"
    return _writable(mask_urls(text)[:ERROR_CHARS])


def described(error: BaseException) -> str:
    """An error and where it was raised, in bounded length, its end kept. Never raises."""
    return _writable(mask_urls("".join(traceback.format_exception(error)).strip())[-ERROR_CHARS:])


def named(error: BaseException) -> str:
    """An error in one line: its class and what it says."""
    return f"{type(error).__name__}: {told(error)}".partition("\n")[0]


def _writable(text: str) -> str:
    """Lone surrogates cannot be written as UTF-8."""
    return text.encode("utf-8", "backslashreplace").decode()
