"""What turns the texts of one column into values of its type. Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Encoder:
    """Chosen once per column.

    one: the value of one text; raises ValueError whose text says why it does not fit.
    many: the values of a whole column, fast; raises any ValueError, KeyError or OverflowError where `one` would, and
    may where it would not: the caller then asks `one` value by value. Where it returns, it agrees with `one`.
    """

    one: Callable[[bytes], Any]
    many: Callable[[Sequence[bytes]], Sequence[Any]]


def shown(text: bytes, limit: int = 60) -> str:
    """A value as it is shown in a reason: readable, quoted, cut."""
    readable = text[: 4 * limit].decode("utf-8", "backslashreplace")
    return repr(readable) if len(readable) <= limit and len(text) <= 4 * limit else repr(readable[:limit]) + "..."
