"""Which names a flow file may give to things."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from dataflow.flow.findings import Mark, shown
from dataflow.flow.kind import BAD, VARIABLE, Place, Schema
from dataflow.flow.tree import Node
from dataflow.flow.values import Text


@dataclass(frozen=True, slots=True)
class Names:
    """Which names are legal for a thing, and which of those are taken by the system itself."""

    what: str
    pattern: str
    rule: str
    reserved: frozenset[str] = frozenset()
    reserved_prefix: str | None = None

    def refuse(self, name: str, mark: Mark, place: Place) -> bool:
        """Report a name that is not legal; whether it was."""
        if not re.fullmatch(self.pattern, name):
            place.report("F106", mark, harmless=True, found=shown(name), what=self.what, rule=self.rule)
        elif name in self.reserved or (self.reserved_prefix and name.startswith(self.reserved_prefix)):
            place.report("F107", mark, harmless=True, found=shown(name), what=self.what)
        else:
            return False
        return True


@dataclass(frozen=True, slots=True)
class Name:
    """A legal name as a value."""

    names: Names
    blank: str = ""

    @property
    def words(self) -> str:
        """The rule."""
        return f"a name of {self.names.rule}"

    def read(self, node: Node, place: Place) -> Any:
        """The name."""
        text = Text().read(node, place)
        return BAD if text is BAD or self.names.refuse(text, node.mark, place) else text

    def schema(self) -> Schema:
        """A string."""
        return {"anyOf": [{"type": "string", "pattern": f"^{self.names.pattern}$"}, VARIABLE]}
