"""What a handler is given, and what can come of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from dataflow.errors import InvalidMessage
from dataflow.handler import To
from dataflow.store.outcomes import Entry


@dataclass(slots=True)
class Task:
    """One entry, decoded. `attempt` counts tries, this one included; 1 on the first.

    `fault` is set, and `message` empty, when the entry could not be decoded.
    """

    entry: Entry
    mid: str
    path: str
    attempt: int
    message: dict[str, Any]
    fault: InvalidMessage | None = None


class Handled(NamedTuple):
    """The handler returned these messages (maybe none)."""

    messages: Sequence[Mapping[str, Any] | To]


@dataclass(frozen=True, slots=True)
class Filtered:
    """The handler returned None: the message ends here, counted."""


@dataclass(frozen=True, slots=True)
class Failed:
    """The handler raised, or returned what no message can be made of."""

    error: BaseException


Result = Handled | Filtered | Failed


@dataclass(frozen=True, slots=True)
class Results:
    """What came of the first `len(each)` tasks of a batch; the others were not begun.

    together: one result of the whole batch: all of it is finished, or none.
    split: the batch failed as a whole, so nothing is known of any of its messages: run each alone.
    """

    each: Sequence[Result]
    together: bool = False
    split: BaseException | None = None


@dataclass(frozen=True, slots=True)
class Worked:
    """Tasks and what came of them, as one batch of the loop. `together`: all of it is finished, or none."""

    pairs: Sequence[tuple[Task, Result]] = ()
    together: bool = False
