"""What every kind of value in a flow file is: something that reads a node and can describe itself.

A kind never raises: it reports what is wrong through its `Place` and answers BAD, and its reader goes on with the
kind's `blank`, so that one pass finds everything. Scalars are in values, names and address; lists and mappings in many
and sections; message fields in fields, schedules in schedule.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Protocol

from dataflow.flow.findings import Finding, Findings, Mark, Where, dotted, shown
from dataflow.flow.tree import Block, Entry, Leaf, Listing, Node

BAD: Final = object()
"""What a kind answers when it has reported that the value cannot be used."""

VARIABLE: Final = {"type": "string", "pattern": r"\$\{"}
"""JSON Schema of a value that an environment variable will give."""

Schema = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Place:
    """Where a value stands, and what takes the findings about it."""

    path: Where
    findings: Findings

    def at(self, part: str | int) -> Place:
        """A place inside this one."""
        return Place((*self.path, part), self.findings)

    def report(self, code: str, mark: Mark, *, harmless: bool = False, **values: object) -> object:
        """Note a finding about the value here; answers BAD."""
        shown_values = {"where": dotted(self.path), **values}
        self.findings.add(Finding(code, self.path, shown_values, mark, harmless=harmless))
        return BAD


class Kind(Protocol):
    """One kind of value."""

    @property
    def words(self) -> str:
        """What to write, for people."""

    @property
    def blank(self) -> Any:
        """Stands for a value that was missing or wrong, until the findings are reported."""

    def read(self, node: Node, place: Place) -> Any:
        """The value, or BAD with a finding reported."""

    def schema(self) -> Schema:
        """JSON Schema of what may be written."""


def entries_of(kind: Kind, node: Node, place: Place) -> Mapping[str, Entry] | None:
    """The entries of a mapping; an empty value is an empty mapping. None: something else, reported."""
    if isinstance(node, Block):
        return node.entries
    if isinstance(node, Leaf) and node.value is None and not node.broken:
        return {}
    wrong(kind, node, place)
    return None


def wrong(kind: Kind, node: Node, place: Place) -> object:
    """Report that a value is of another kind, unless it is broken, which was reported before. Answers BAD.

    Text is not shown, it may hold a secret.
    """
    if is_broken(node):
        return BAD
    return place.report("F103", node.mark, wanted=kind.words, found=_found(node))


def is_broken(node: Node) -> bool:
    """Whether it is a scalar that could not be read, which was reported."""
    return isinstance(node, Leaf) and node.broken


def _found(node: Node) -> str:
    if isinstance(node, Block):
        return "a mapping"
    if isinstance(node, Listing):
        return "a list"
    if node.value is None:
        return "nothing"
    return "text" if isinstance(node.value, str) else shown(node.written, quote=False)
