"""Ids and paths of messages: pure text, made and read here only.

| what | form |
|---|---|
| request id | 26 characters of Crockford base 32, lower case: 48 bits of Unix ms, then 80 random bits |
| message id (`_mid`) | `<request id>-<index in the request>` |
| child id | `<mid>.<node>.<n>` |
| foreign id | `<stream>/<entry id>`, for an entry that another program wrote |
| path (`_path`) | `<node>@<ms>` of every hop, joined by `>`: `hub@1763686800000>anomaly@1763686800017` |
"""

from __future__ import annotations

import os
import re
import time

_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
_PAIRS = [first + second for first in _ALPHABET for second in _ALPHABET]
_REQUEST = re.compile(rf"[0-7][{_ALPHABET}]{{25}}(?=[-.]|$)")
_FOREIGN = re.compile(r"[^/]+/(\d{1,15})-\d+(?=\.|$)")
_CHILD = re.compile(r"^(.+)\.[^.]+\.\d+$", re.DOTALL)


def request_id(now_ms: int | None = None) -> str:
    """Make a new id that sorts by time and that nobody can guess. Never blocks.

    Args:
        now_ms: Unix milliseconds; None takes the clock.
    """
    at_ms = time.time_ns() // 1_000_000 if now_ms is None else now_ms
    number = (at_ms & (1 << 48) - 1) << 80 | int.from_bytes(os.urandom(10), "big")
    return "".join([_PAIRS[number >> shift & 1023] for shift in range(120, -1, -10)])


def message_id(request: str, index: int) -> str:
    """The `_mid` of the message at this position (0-based) of a request."""
    return f"{request}-{index}"


def child_id(mid: str, node: str, n: int) -> str:
    """The `_mid` of the n-th (0-based) message that a node made out of `mid`."""
    return f"{mid}.{node}.{n}"


def foreign_id(stream: str, entry_id: str) -> str:
    """The id of an entry that another program wrote without a `_mid`."""
    return f"{stream}/{entry_id}"


def parent_id(mid: str) -> str | None:
    """The message that a child was made from, None where the id has not the form of a child."""
    child = _CHILD.match(mid)
    return child.group(1) if child else None


def mid_time_ms(mid: str) -> int | None:
    """When a message (or its ancestor) was born, in Unix ms, read from its id; None where it tells none."""
    if _REQUEST.match(mid):
        number = 0
        for letter in mid[:10]:
            number = number << 5 | _ALPHABET.index(letter)
        return number
    foreign = _FOREIGN.match(mid)
    return int(foreign.group(1)) if foreign else None


def extend_path(path: str, node: str, at_ms: int) -> str:
    """Add one hop to a path; an empty path begins one."""
    return f"{path}>{node}@{at_ms}" if path else f"{node}@{at_ms}"


def nodes_of(path: str) -> list[str]:
    """The nodes of a path, in the order in which the message passed them."""
    return [hop.rpartition("@")[0] for hop in path.split(">")]
