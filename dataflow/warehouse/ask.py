"""A request to an embedded warehouse, and its answer, as they go over the wire.

One frame with an `Ask` in JSON there, one frame back: `+` and the result, or `-` and a `Failure` in JSON.
"""

from __future__ import annotations

from typing import Any, Final, Literal

import msgspec

MAX_ASK_BYTES: Final = 1 << 24
MAX_ANSWER_BYTES: Final = 1 << 28

FailureKind = Literal["query", "key", "away"]


class Ask(msgspec.Struct, frozen=True, kw_only=True):
    """One request. `write` allows statements that change the warehouse. `format` is a ClickHouse output format."""

    key: str
    sql: str
    format: str
    params: dict[str, Any] = {}
    write: bool = False
    timeout_s: float = 60.0

    def __repr__(self) -> str:
        return f"Ask(sql={self.sql!r}, format={self.format!r}, write={self.write}, key=***)"


class Failure(msgspec.Struct, frozen=True):
    """Why there is no result: the statement (query), the key, or the server itself (away)."""

    kind: FailureKind
    text: str
