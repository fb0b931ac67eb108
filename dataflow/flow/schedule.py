"""The kind of value under `task:`: when an edge runs. Keys are checked, values are kept as written."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from dataflow.flow.kind import BAD, Kind, Place, Schema, entries_of, is_broken
from dataflow.flow.sections import Key, Section
from dataflow.flow.tree import Leaf, Node, plain
from dataflow.flow.values import Text

_BOUNDS: Final = ("start_date", "end_date")
_ZONE: Final = "timezone"

EXTERNAL: Final = "external"
"""Instead of a schedule: the edge runs when it is asked to, and not all the time."""


def _form(name: str, keys: tuple[str, ...]) -> Section:
    return Section(f"a {name} schedule", tuple(Key(key, Text(), key.replace("_", " ")) for key in keys))


CRON: Final = _form(
    "cron", ("year", "month", "day", "week", "day_of_week", "hour", "minute", "second", *_BOUNDS, _ZONE)
)
INTERVAL: Final = _form("interval", ("weeks", "days", "hours", "minutes", "seconds", *_BOUNDS, _ZONE))
DATE: Final = _form("date", ("run_date", _ZONE))
NESTED: Final[Mapping[str, Section]] = {"interval": INTERVAL, "date": DATE}


@dataclass(frozen=True, slots=True)
class Schedule:
    """Cron fields, or one of `interval: {...}` and `date: ...`; or the word `external`, which is kept as {}."""

    words: str = "a schedule"

    @property
    def blank(self) -> None:
        """No schedule."""
        return None

    def read(self, node: Node, place: Place) -> Any:
        """The mapping as written."""
        if isinstance(node, Leaf) and node.value is not None and node.text == EXTERNAL:
            return {}
        entries = entries_of(self, node, place)
        if entries is None:
            return BAD
        nested = [name for name in NESTED if name in entries]
        if nested and len(entries) > 1:
            return place.report("F114", node.mark, reason=f"{nested[0]} stands beside other keys")
        if nested:
            return self._nested(nested[0], node, entries[nested[0]].node, place)
        if not entries:
            return place.report("F114", node.mark, reason="it is empty")
        return plain(node) if CRON.read(node, place) is not BAD else BAD

    def _nested(self, form: str, node: Node, inner: Node, place: Place) -> Any:
        if not plain(inner) and not is_broken(inner):
            return place.report("F114", inner.mark, reason=f"{form} is empty")
        kind: Kind = Text() if form == "date" and isinstance(inner, Leaf) else NESTED[form]
        return BAD if kind.read(inner, place.at(form)) is BAD else plain(node)

    def schema(self) -> Schema:
        """The three forms and the word."""
        return {
            "oneOf": [
                {**CRON.schema(), "minProperties": 1, "type": "object"},
                _only("interval", {**INTERVAL.schema(), "minProperties": 1, "type": "object"}),
                _only("date", {"anyOf": [Text().schema(), DATE.schema()]}),
                {"const": EXTERNAL},
            ]
        }


def _only(name: str, schema: Schema) -> Schema:
    return {
        "type": "object",
        "properties": {name: schema},
        "required": [name],
        "additionalProperties": False,
    }
