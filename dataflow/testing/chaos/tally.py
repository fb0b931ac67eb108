"""What became of the accepted messages: rows and dead letters against the ids that were accepted. Pure.

A message is known by its client's number and its own. Each must be either dead, or in every table; a row that appears
twice, or beyond a dead letter of the same message, is a duplicate. What it holds must be what was sent, or made of it.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Set
from dataclasses import dataclass, field
from typing import Any

from dataflow.testing.chaos.content import difference

Id = tuple[int, int]
"""(client, n)."""

MOST_NAMED = 20


@dataclass(slots=True)
class Tally:
    """The count. `lost`, `doubled`, `foreign`, `changed`: the first of them; `losses`, `duplicates`, `strangers`,
    `changes`: how many.

    foreign: a row of a message that was never accepted, and of whose request no answer is outstanding. changed: a row
    or dead letter that holds something else than was sent, or made of it.
    """

    accepted: int = 0
    delivered: int = 0
    dead: int = 0
    losses: int = 0
    duplicates: int = 0
    strangers: int = 0
    changes: int = 0
    lost: list[tuple[Id, str]] = field(default_factory=list)
    doubled: list[tuple[Id, str]] = field(default_factory=list)
    foreign: list[tuple[Id, str]] = field(default_factory=list)
    changed: list[tuple[Id, str]] = field(default_factory=list)

    @property
    def clean(self) -> bool:
        """Whether the promise was kept."""
        return not (self.losses or self.duplicates or self.strangers or self.changes)

    def line(self, kills: int) -> str:
        """The one line that a run ends with."""
        return (
            f"chaos: kills={kills} accepted={self.accepted} delivered={self.delivered} dead={self.dead} "
            f"lost={self.losses} duplicates={self.duplicates}"
        )

    def add(
        self,
        client: int,
        numbers: range,
        rows: Mapping[str, Mapping[int, int]],
        dead: Mapping[Id, Set[str]],
        upstream: Mapping[str, Collection[str]],
    ) -> None:
        """Count accepted messages of one client.

        Args:
            numbers: the messages, all accepted.
            rows: table -> n -> number of rows, of this client and these numbers.
            dead: message -> readers that have it among their dead letters.
            upstream: table -> readers on the way to it.
        """
        for n in numbers:
            self._judge((client, n), {table: there.get(n, 0) for table, there in rows.items()}, dead, upstream)

    def add_rest(self, client: int, rows: Mapping[str, Mapping[int, int]], undecided: range) -> None:
        """Count rows of one client beyond its last accepted message. `undecided`: those that may be there, once."""
        for table, there in rows.items():
            for n, count in there.items():
                if n not in undecided:
                    self.strangers += 1
                    _name(self.foreign, (client, n), f"{table}: {count} rows of a message that was not accepted")
                elif count > 1:
                    self._double((client, n), count - 1, f"{table}: {count} rows")

    def compare(self, id_: Id, place: str, found: Mapping[str, Any], wanted: Mapping[str, Any], count: int = 1) -> None:
        """Look at what a message holds that is at a place so often, against what it has to hold there."""
        wrong = difference(found, wanted)
        if wrong:
            self.changes += count
            _name(self.changed, id_, f"{place}: {wrong}")

    def _judge(
        self, id_: Id, rows: Mapping[str, int], dead: Mapping[Id, Set[str]], upstream: Mapping[str, Collection[str]]
    ) -> None:
        self.accepted += 1
        died_at = dead.get(id_, frozenset())
        missing = [table for table, count in rows.items() if not count and not died_at & set(upstream[table])]
        for table, count in rows.items():
            beyond = sorted(died_at & set(upstream[table]))
            if count > 1:
                self._double(id_, count - 1, f"{table}: {count} rows")
            if count and beyond:
                self._double(id_, 1, f"{table}: a row, and a dead letter of {', '.join(beyond)}")
        if missing:
            self.losses += 1
            _name(self.lost, id_, f"not in {', '.join(missing)}")
        elif died_at:
            self.dead += 1
        else:
            self.delivered += 1

    def _double(self, id_: Id, times: int, text: str) -> None:
        self.duplicates += times
        _name(self.doubled, id_, text)


def _name(named: list[tuple[Id, str]], id_: Id, text: str) -> None:
    if len(named) < MOST_NAMED:
        named.append((id_, text))
