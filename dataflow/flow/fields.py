"""Kinds of values that speak of message fields: their names and their types."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final, cast, get_args

from dataflow.faults import name_fault
from dataflow.flow.findings import did_you_mean, shown
from dataflow.flow.kind import BAD, VARIABLE, Place, Schema, entries_of
from dataflow.flow.sections import Key, Section
from dataflow.flow.spec import Field, FieldType
from dataflow.flow.tree import Entry, Leaf, Node
from dataflow.flow.values import Choice, Flag, Text

FIELD_TYPES: Final[tuple[str, ...]] = get_args(FieldType)


@dataclass(frozen=True, slots=True)
class Type:
    """The type of a message field: `str`, `str?` (nullable), or `{type: str, nullable: true}`."""

    words: str = "one of " + ", ".join(FIELD_TYPES) + ", with ? where null is allowed"
    blank: Field = field(default_factory=lambda: Field("str"))

    def read(self, node: Node, place: Place) -> Any:
        """A Field."""
        if not isinstance(node, Leaf):
            return self._long(node, place)
        word, nullable = node.text.removesuffix("?"), node.text.endswith("?")
        if node.broken or word in FIELD_TYPES:
            return BAD if node.broken else Field(cast(FieldType, word), nullable)
        allowed = [*FIELD_TYPES, *(f"{name}?" for name in FIELD_TYPES)]
        close = did_you_mean(node.text, allowed)
        return place.report("F104", node.mark, found=shown(node.written), guess=close, allowed=", ".join(allowed))

    def _long(self, node: Node, place: Place) -> Any:
        value = _LONG_FIELD.read(node, place)
        return BAD if value is BAD or not value["type"] else Field(value["type"], value["nullable"])

    def schema(self) -> Schema:
        """Both forms."""
        short = [*FIELD_TYPES, *(f"{name}?" for name in FIELD_TYPES)]
        return {"anyOf": [{"enum": short}, _LONG_FIELD.schema(), VARIABLE]}


@dataclass(frozen=True, slots=True)
class Types:
    """A schema: field name -> type."""

    words: str = "a mapping: field name -> type"

    @property
    def blank(self) -> dict[str, Field]:
        """Nothing."""
        return {}

    def read(self, node: Node, place: Place) -> Any:
        """Field by name."""
        entries = entries_of(self, node, place)
        if entries is None:
            return BAD
        if not entries:
            return place.report("F116", node.mark)
        return {name: self._entry(name, entry, place.at(name)) for name, entry in entries.items()}

    def _entry(self, name: str, entry: Entry, place: Place) -> Field:
        if name_fault(name):
            place.report("F111", entry.key_mark, found=shown(name))
        value = Type().read(entry.node, place)
        kept: Field = Type().blank if value is BAD else value
        return kept

    def schema(self) -> Schema:
        """An object."""
        return {
            "type": "object",
            "minProperties": 1,
            "propertyNames": {"pattern": "^[^_]"},
            "additionalProperties": Type().schema(),
        }


@dataclass(frozen=True, slots=True)
class FieldName:
    """The name of one message field, as a value."""

    words: str = "a field name"
    blank: str = ""
    also: frozenset[str] = frozenset()

    def read(self, node: Node, place: Place) -> Any:
        """The name."""
        text = Text().read(node, place)
        if text is BAD or text in self.also or not name_fault(text):
            return text
        return place.report("F111", node.mark, found=shown(text))

    def schema(self) -> Schema:
        """A string."""
        return {"type": ["string", "number", "boolean"], "minLength": 1}


_LONG_FIELD: Final = Section(
    "field",
    (
        Key("type", Choice(FIELD_TYPES), "type of the values", required=True),
        Key("nullable", Flag(), "whether null is allowed", default=False),
    ),
)
