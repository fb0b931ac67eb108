"""The kind of value that says where a server is."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from dataflow.clickhouse.address import ServerAddress
from dataflow.errors import UserError
from dataflow.flow.kind import VARIABLE, Place, Schema, wrong
from dataflow.flow.spec import EMBEDDED, ConnectionKind
from dataflow.flow.tree import Leaf, Node

_SCHEMES: Mapping[ConnectionKind, tuple[str, ...]] = {
    "redis": ("redis", "rediss", "unix"),
    "clickhouse": ("clickhouse", "clickhouses"),
    "mongo": ("mongodb", "mongodb+srv"),
}

_WORD = r"[^\s@]{1,300}"


@dataclass(frozen=True, slots=True)
class Address:
    """`embedded` or the URL of a server. What is wrong with one is said without showing it: it may hold a secret."""

    server: ConnectionKind
    blank: str = EMBEDDED

    @property
    def words(self) -> str:
        """The forms."""
        return f"embedded or {self._example}"

    @property
    def _example(self) -> str:
        return f"{_SCHEMES[self.server][0]}://host:port"

    def read(self, node: Node, place: Place) -> Any:
        """The address with its secret."""
        if not isinstance(node, Leaf) or not isinstance(node.value, str):
            return wrong(self, node, place)
        reason = None if node.text == EMBEDDED else self._fault(node.text)
        return place.report("F108", node.mark, reason=reason, example=self._example) if reason else node.text

    def _fault(self, url: str) -> str | None:
        schemes = _SCHEMES[self.server]
        try:
            parts = urlsplit(url)
            where = parts.path if parts.scheme == "unix" else parts.hostname
            if parts.scheme not in schemes:
                return f"it does not begin with {' or '.join(f'{scheme}://' for scheme in schemes)}"
            if self.server != "mongo":  # whose URLs may list several host:port
                _ = parts.port
        except ValueError:
            return "host or port cannot be read"
        if not where:
            return "it names no host"
        return _fault_of_clickhouse(url) if self.server == "clickhouse" else None

    def schema(self) -> Schema:
        """The scheme only."""
        schemes = "|".join(re.escape(scheme) for scheme in _SCHEMES[self.server])
        return {"anyOf": [{"const": EMBEDDED}, {"type": "string", "pattern": f"^({schemes})://"}, VARIABLE]}


@dataclass(frozen=True, slots=True)
class Alias:
    """Another word for a server. What is wrong with one is said without showing it: it may hold a secret."""

    words: str = "an address or a name without a password"
    blank: str = ""

    def read(self, node: Node, place: Place) -> Any:
        """The word."""
        if not isinstance(node, Leaf) or node.value is None or node.broken:
            return wrong(self, node, place)
        if re.fullmatch(_WORD, node.text):
            return node.text
        return place.report("F103", node.mark, wanted=self.words, found="text with @ or a space in it")

    def schema(self) -> Schema:
        """A string."""
        return {"anyOf": [{"type": "string", "pattern": f"^{_WORD}$"}, VARIABLE]}


def _fault_of_clickhouse(url: str) -> str | None:
    try:
        ServerAddress.read(url)
    except UserError as error:
        return str(error)
    return None
