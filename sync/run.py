"""What one run of an edge did, and how runs of its two lanes add up."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final, Literal

from redis.exceptions import ResponseError

from dataflow.errors import (
    BatchConflict,
    DataflowError,
    Fenced,
    NotDeclared,
    OutcomeUnknown,
    ServerAway,
    ServerFull,
    StreamFull,
    TargetRefused,
)
from dataflow.store.lane import LeaseHeld

State = Literal[
    "empty",
    "more",
    "stopped",
    "held",
    "full",
    "paused",
    "fenced",
    "away",
    "unknown",
    "undeclared",
    "refused",
    "conflict",
    "failed",
]
"""How a run ended.

empty: nothing is left to move. more: the most batches were moved. stopped: the stop flag was set. held: another runner
has the lease, or nothing new is begun because the edge is being taken out of the flow or led elsewhere. full: no room
at the target or in the dead letters. paused: a person must resume the edge. fenced: another runner took over. away: a
server cannot be reached. unknown: a server did not answer. undeclared: the flow is not applied, or another one is.
refused: the target said no before anything was written. conflict: the target still had another batch after all
attempts to reconcile. failed: any other error.

Whatever the state, a frozen batch that was not settled is sent again by the next run.
"""

GOOD: Final[frozenset[State]] = frozenset({"empty", "more", "stopped", "held"})
"""Ends of a run with which nothing is wrong."""

_STATES: Final[Mapping[type[DataflowError], State]] = {
    LeaseHeld: "held",
    StreamFull: "full",
    ServerFull: "full",
    Fenced: "fenced",
    ServerAway: "away",
    OutcomeUnknown: "unknown",
    NotDeclared: "undeclared",
    TargetRefused: "refused",
    BatchConflict: "conflict",
}


TROUBLE: Final = (DataflowError, ResponseError)
"""What a run turns into a state: our own errors, and a Redis that refuses a command (a key of another type ...)."""


def state_of(error: Exception) -> State:
    """The state in which an error leaves a run."""
    return next((state for kind, state in _STATES.items() if isinstance(error, kind)), "failed")


@dataclass(frozen=True, slots=True)
class Run:
    """What one run of an edge did.

    read: entries of the batches that were settled; of them `written` are at the target by this run's doing, `skipped`
    were there before, `dead` went to the dead letters. remaining: entries left at the source, counted up to a
    thousand. error: what went wrong, "" if nothing. mode: how the target knows a batch again, "" if it was not opened.
    """

    state: State
    read: int = 0
    written: int = 0
    skipped: int = 0
    dead: int = 0
    remaining: int = 0
    batches: int = 0
    seconds: float = 0.0
    error: str = ""
    mode: str = ""

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)

    def __add__(self, other: Run) -> Run:
        """Both lanes as one: sums, and the state that needs more attention."""
        worse = max(self, other, key=lambda run: _URGENCY.index(run.state))
        return Run(
            worse.state,
            self.read + other.read,
            self.written + other.written,
            self.skipped + other.skipped,
            self.dead + other.dead,
            self.remaining + other.remaining,
            self.batches + other.batches,
            self.seconds + other.seconds,
            worse.error,
            self.mode or other.mode,
        )


_URGENCY: Final[tuple[State, ...]] = (
    "empty", "more", "stopped", "held", "fenced", "full", "unknown", "away", "undeclared", "conflict", "refused",
    "failed", "paused",
)  # fmt: skip
