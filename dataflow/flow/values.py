"""Kinds of scalars: text, a choice, a flag, numbers."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from dataflow.flow.findings import did_you_mean, shown
from dataflow.flow.kind import BAD, VARIABLE, Place, Schema, wrong
from dataflow.flow.tree import Leaf, Node

_ANY = r"[^\x00]+"


@dataclass(frozen=True, slots=True)
class Text:
    """Text as written, whatever it looks like: 5, on and 12:30 are text here. Must match `pattern` if one is given."""

    words: str = "text"
    pattern: str = _ANY
    code: str = "F103"
    blank: str = ""

    def read(self, node: Node, place: Place) -> Any:
        """The text."""
        if not isinstance(node, Leaf) or node.value is None:
            return wrong(self, node, place)
        if not re.fullmatch(self.pattern, node.text, re.DOTALL):
            return place.report(self.code, node.mark, wanted=self.words, found=shown(node.written))
        return node.text

    def schema(self) -> Schema:
        """A string, or whatever YAML makes of an unquoted one."""
        if self.pattern == _ANY:
            return {"type": ["string", "number", "boolean"], "minLength": 1}
        return {"anyOf": [{"type": "string", "pattern": f"^(?:{self.pattern})$"}, VARIABLE]}


@dataclass(frozen=True, slots=True)
class Choice:
    """One of a few words."""

    allowed: tuple[str, ...]
    blank: str = ""

    @property
    def words(self) -> str:
        """All of them."""
        return " or ".join(self.allowed)

    def read(self, node: Node, place: Place) -> Any:
        """The word."""
        if not isinstance(node, Leaf) or node.broken:
            return wrong(self, node, place)
        if node.text in self.allowed:
            return node.text
        close, allowed = did_you_mean(node.text, self.allowed), ", ".join(self.allowed)
        return place.report("F104", node.mark, found=shown(node.written), guess=close, allowed=allowed)

    def schema(self) -> Schema:
        """An enumeration."""
        return {"anyOf": [{"enum": list(self.allowed)}, VARIABLE]}


@dataclass(frozen=True, slots=True)
class Flag:
    """true or false."""

    words: str = "true or false"
    blank: bool = False

    def read(self, node: Node, place: Place) -> Any:
        """The bool."""
        if isinstance(node, Leaf) and isinstance(node.typed, bool):
            return node.typed
        return wrong(self, node, place)

    def schema(self) -> Schema:
        """A boolean."""
        return {"anyOf": [{"type": "boolean"}, VARIABLE]}


@dataclass(frozen=True, slots=True)
class Whole:
    """A whole number from `least` to `most`."""

    least: int = 1
    most: int | None = None

    @property
    def blank(self) -> int:
        """The least."""
        return self.least

    @property
    def words(self) -> str:
        """Both ends."""
        return f"a whole number, {_between(self.least, self.most)}"

    def read(self, node: Node, place: Place) -> Any:
        """The int."""
        if not isinstance(node, Leaf) or type(node.typed) is not int:
            return wrong(self, node, place)
        return _ranged(node, self, place)

    def holds(self, number: float) -> bool:
        """Whether the number is within the range."""
        return number >= self.least and (self.most is None or number <= self.most)

    def schema(self) -> Schema:
        """An integer."""
        most = {} if self.most is None else {"maximum": self.most}
        return {"anyOf": [{"type": "integer", "minimum": self.least, **most}, VARIABLE]}


@dataclass(frozen=True, slots=True)
class Number:
    """A finite number, at least `least`, or above `above`."""

    least: float = 0
    above: bool = False

    @property
    def blank(self) -> float:
        """Any number in the range."""
        return self.least + 1

    @property
    def words(self) -> str:
        """The lower end."""
        return f"a number {'above' if self.above else 'of at least'} {self.least:g}"

    def read(self, node: Node, place: Place) -> Any:
        """The float."""
        if not isinstance(node, Leaf) or type(node.typed) not in (int, float):
            return wrong(self, node, place)
        value = _ranged(node, self, place)
        return BAD if value is BAD else float(value)

    def holds(self, number: float) -> bool:
        """Whether the number is within the range, and one that a float holds."""
        return abs(number) < 1e300 and (number > self.least if self.above else number >= self.least)

    def schema(self) -> Schema:
        """A number."""
        return {
            "anyOf": [
                {"type": "number", "exclusiveMinimum" if self.above else "minimum": self.least},
                VARIABLE,
            ]
        }


def _between(least: int, most: int | None) -> str:
    return f"{least} or more" if most is None else f"{least} to {most}"


def _ranged(node: Leaf, kind: Whole | Number, place: Place) -> Any:
    value: Any = node.typed
    if kind.holds(value):
        return value
    return place.report("F105", node.mark, wanted=kind.words, found=shown(node.written, quote=False))
