"""Kinds of values that hold many: lists, free content, mappings from the user's names."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from dataflow.flow.findings import dotted, shown
from dataflow.flow.kind import BAD, Kind, Place, Schema, entries_of, wrong
from dataflow.flow.names import Names
from dataflow.flow.tree import Entry, Leaf, Listing, Node, plain


@dataclass(frozen=True, slots=True)
class Several:
    """A list of values of one kind, none of them twice; with `single` also one value that is no list."""

    each: Kind
    single: bool = False
    blank: tuple[Any, ...] = ()

    @property
    def words(self) -> str:
        """Of what."""
        return f"{self.each.words}, or a list of such" if self.single else f"a list: {self.each.words}"

    def read(self, node: Node, place: Place) -> Any:
        """A tuple; blanks stand for what could not be read."""
        if self.single and isinstance(node, Leaf):
            value = self.each.read(node, place)
            return BAD if value is BAD else (value,)
        if not isinstance(node, Listing):
            return wrong(self, node, place)
        if not node.items:
            return place.report("F116", node.mark)
        return tuple(self._items(node, place))

    def _items(self, node: Listing, place: Place) -> Iterator[Any]:
        seen: set[Any] = set()
        for index, item in enumerate(node.items):
            value = self.each.read(item, place.at(index))
            if value in seen and value is not BAD:
                place.at(index).report("F115", item.mark, found=shown(str(value)), where=dotted(place.path))
            seen.add(value)
            yield self.each.blank if value is BAD else value

    def schema(self) -> Schema:
        """An array."""
        each = self.each.schema()
        many = {"type": "array", "items": each, "minItems": 1, "uniqueItems": True}
        return {"anyOf": [each, many]} if self.single else many


@dataclass(frozen=True, slots=True)
class Free:
    """A mapping whose content is the user's own; kept as plain data."""

    words: str = "a mapping"

    @property
    def blank(self) -> dict[str, Any]:
        """Nothing."""
        return {}

    def read(self, node: Node, place: Place) -> Any:
        """The mapping."""
        entries = entries_of(self, node, place)
        return BAD if entries is None else {key: plain(entry.node) for key, entry in entries.items()}

    def schema(self) -> Schema:
        """An object."""
        return {"type": ["object", "null"]}


@dataclass(frozen=True, slots=True)
class Named:
    """A mapping from names to values of one kind."""

    names: Names
    each: Kind
    words: str
    empty: bool = True

    @property
    def blank(self) -> dict[str, Any]:
        """Nothing."""
        return {}

    def read(self, node: Node, place: Place) -> Any:
        """A dict in the order written. What could not be read is a blank, so that its name is known all the same."""
        entries = entries_of(self, node, place)
        if entries is None:
            return BAD
        if not entries and not self.empty:
            return place.report("F116", node.mark)
        return {name: self._entry(name, entry, place.at(name)) for name, entry in entries.items()}

    def _entry(self, name: str, entry: Entry, place: Place) -> Any:
        self.names.refuse(name, entry.key_mark, place)
        value = self.each.read(entry.node, place)
        return self.each.blank if value is BAD else value

    def schema(self) -> Schema:
        """An object."""
        return {
            "type": ["object", "null"] if self.empty else "object",
            "propertyNames": {"pattern": f"^{self.names.pattern}$"},
            "additionalProperties": self.each.schema(),
            **({} if self.empty else {"minProperties": 1}),
        }
