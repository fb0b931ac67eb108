"""Entries that a worker holds, and what can become of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple, overload

LaneName = Literal["main", "retry"]
LANES: tuple[LaneName, LaneName] = ("main", "retry")


class Entry(NamedTuple):
    """One stream entry in hand: its lane, its id there, and its fields [name, value, ...]."""

    lane: LaneName
    id: bytes
    fields: list[bytes]


class Out(NamedTuple):
    """The entry was handled and became these messages: (target number from 0, complete fields)."""

    messages: Sequence[tuple[int, list[bytes]]] = ()


@dataclass(frozen=True, slots=True)
class Drop:
    """The handler filtered the entry."""


@dataclass(frozen=True, slots=True)
class Dead:
    """The entry cannot go on. `reason` is a short code, `error` a sentence or a traceback."""

    reason: str
    error: str
    attempts: int


@dataclass(frozen=True, slots=True)
class Park:
    """The entry comes back at `due_ms` (ms since 1970) with this many attempts behind it."""

    due_ms: int
    attempts: int


Outcome = Out | Drop | Dead | Park
Outcomes = Sequence[tuple[Entry, Outcome]]


class OneEach(Sequence[tuple[Entry, Out]]):
    """The outcomes of entries each of which became one message, all with the same names and for the same target.

    Most batches are so, and as columns they cost a fifth of what the pairs cost that they read as.

    Args:
        target: its number, from 0.
        columns: for each name the values of all messages.
    """

    def __init__(
        self, entries: Sequence[Entry], target: int, names: Sequence[bytes], columns: Sequence[Sequence[bytes]]
    ) -> None:
        self.entries, self.target, self.names, self.columns = entries, target, names, columns

    def __len__(self) -> int:
        return len(self.entries)

    def __iter__(self) -> Iterator[tuple[Entry, Out]]:
        for entry, *values in zip(self.entries, *self.columns, strict=True):
            fields = [part for pair in zip(self.names, values, strict=True) for part in pair]
            yield entry, Out([(self.target, fields)])

    @overload
    def __getitem__(self, index: int) -> tuple[Entry, Out]: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[tuple[Entry, Out]]: ...
    def __getitem__(self, index: int | slice) -> tuple[Entry, Out] | Sequence[tuple[Entry, Out]]:
        return list(self)[index]


def entries_of(outcomes: Outcomes) -> Sequence[Entry]:
    """The entries alone, in their order."""
    return outcomes.entries if isinstance(outcomes, OneEach) else [entry for entry, _ in outcomes]


@dataclass(slots=True)
class Finished:
    """What `finish` did: entries finished, and those that another consumer has taken over (nothing written)."""

    done: int = 0
    lost: list[bytes] = field(default_factory=list)
