"""What is known of a task's runs, and what follows from it. Pure: the clock is an argument. Times are ms since 1970."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Final

from dataflow.masking import mask_urls, masked
from dataflow.store.leadership import SET_BACK_MS

HISTORY: Final = 20
"""Runs that are remembered of each task."""
RESEND_MS: Final = 15_000
"""A hint without an outcome is sent again after so long. A second one is harmless: the edge has a lease."""
GRACE_MS: Final = 300_000
"""A tick is made up for if it is not later than this: after a change of scheduler, or of a busy machine."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a run ended. `state`: "ok", "error", or how the run of an edge ended. `facts`: what else there is to say."""

    state: str
    error: str = ""
    facts: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Ended:
    """One run of the history."""

    tick: int
    ended_at: int
    state: str
    error: str
    facts: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Record:
    """The runs of one task.

    last_tick: the last tick that fired. due, done: the last tick whose run was begun, and ended; a run is under way
    while due > done. hint: id of the message that asked for the run of an edge, sent at `sent_at`, after `resent`
    others for the same tick; "" for a run in the scheduler itself. next_run: when the next tick is due, 0 for never.
    skipped: ticks that fell into a run. why: what stands against the task's wish. owner: "flow" if the flow file has
    the schedule; "was:<wish>" if it had it.
    """

    last_tick: int = 0
    due: int = 0
    done: int = 0
    hint: str = ""
    sent_at: int = 0
    resent: int = 0
    next_run: int = 0
    runs: int = 0
    errors: int = 0
    skipped: int = 0
    why: str = ""
    owner: str = ""
    history: tuple[Ended, ...] = ()

    @property
    def under_way(self) -> bool:
        """Whether a run has begun of which no end is known."""
        return self.due > self.done

    @property
    def waits_for_hint(self) -> bool:
        """Whether the run under way is elsewhere."""
        return self.under_way and bool(self.hint)

    @classmethod
    def of(cls, document: Mapping[str, Any]) -> Record:
        """Read a document as MongoDB gives it. What is missing or of another type counts as nothing."""
        known: dict[str, Any] = {name: _number(document.get(name)) for name in _NUMBERS}
        known |= {name: str(document.get(name) or "") for name in ("hint", "why", "owner")}
        found = document.get("history")
        history = [_ended(one) for one in found if isinstance(one, Mapping)] if isinstance(found, Sequence) else []
        return cls(**known, history=tuple(history[-HISTORY:]))

    def as_document(self) -> dict[str, Any]:
        """For MongoDB; without `last_tick`, which is only ever set by a tick."""
        document = asdict(self) | {"history": [asdict(one) for one in self.history]}
        document.pop("last_tick")
        return document


_NUMBERS: Final = ("last_tick", "due", "done", "sent_at", "resent", "next_run", "runs", "errors", "skipped")


def begun(record: Record, tick: int, now: int, hint: str) -> Record:
    """After a tick has fired. `hint`: id of the message for a run elsewhere, "" for a run in the scheduler."""
    due = max(tick, record.done + 1)
    return replace(record, last_tick=tick, due=due, hint=hint, sent_at=now, resent=0, runs=record.runs + 1)


def sent(record: Record, hint: str, now: int) -> Record:
    """After a hint was sent again."""
    return replace(record, hint=hint, sent_at=now, resent=record.resent + 1)


def ended(record: Record, outcome: Outcome, now: int) -> Record:
    """After the run under way has ended."""
    entry = Ended(record.due, now, outcome.state, mask_urls(outcome.error), masked(outcome.facts))
    return replace(
        record,
        done=record.due,
        hint="",
        errors=record.errors + bool(outcome.error),
        history=(*record.history, entry)[-HISTORY:],
    )


def interrupted(record: Record, now: int) -> Record:
    """After another process took the schedule over: a run in the former one has ended with it."""
    if not record.under_way or record.hint:
        return record
    return ended(record, Outcome("unknown", "the scheduler ended during the run"), now)


def merged(stored: Record, own: Record) -> Record:
    """What MongoDB knew of a task, with the runs that were made before it could be asked."""
    return replace(
        own if own.due > stored.due else stored,
        last_tick=max(stored.last_tick, own.last_tick),
        runs=stored.runs + own.runs,
        errors=stored.errors + own.errors,
        skipped=stored.skipped + own.skipped,
        next_run=stored.next_run,
        owner=stored.owner,
        history=(*stored.history, *own.history)[-HISTORY:],
    )


def skipped(record: Record) -> Record:
    """After a tick that fell into the run under way."""
    return replace(record, skipped=record.skipped + 1)


def must_resend(record: Record, now: int) -> bool:
    """Whether the hint of the run under way may be lost, or was sent by a clock that has been set back."""
    return record.waits_for_hint and not 0 <= now - record.sent_at < RESEND_MS


def rebased(record: Record, now: int) -> Record:
    """The record with its times put right if the clock was set back since they were taken."""
    if record.last_tick <= now + SET_BACK_MS:
        return record
    if record.under_way:
        return replace(record, last_tick=now, next_run=0)
    return replace(record, last_tick=now, due=now, done=now, next_run=0)


def first_tick(record: Record, due: int | None, now: int, *, taken_over: bool) -> int | None:
    """With which tick a task begins that is put on the board; None: it has no further one.

    Args:
        due: what its schedule says; for a date that may be in the past.
        taken_over: whether it was running before, so that a tick was perhaps due while nobody scheduled.
    """
    if taken_over and _is_late(record, record.next_run, now):
        return record.next_run
    if due is None or due >= now:
        return due
    return due if _is_late(record, due, now) else None


def _is_late(record: Record, due: int, now: int) -> bool:
    """Whether a tick has not fired and is still to be made up for."""
    return now - GRACE_MS <= due <= now and due > record.last_tick


def _number(value: object) -> int:
    return int(value) if isinstance(value, int | float) else 0


def _ended(found: Mapping[str, Any]) -> Ended:
    facts = found.get("facts")
    return Ended(
        _number(found.get("tick")),
        _number(found.get("ended_at")),
        str(found.get("state") or ""),
        str(found.get("error") or ""),
        facts if isinstance(facts, Mapping) else {},
    )
