"""The order in which a collection is read: by one field whose value only grows, and by `_id` where it is the same.

A position is a pair of both. Queries on it are only right while all values of the field are of one kind, and all `_id`s
too: MongoDB compares a number with numbers only, a string with strings. `kind_of` tells the kinds.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from bson import json_util
from bson.binary import Binary
from bson.codec_options import CodecOptions, DatetimeConversion
from bson.datetime_ms import DatetimeMS
from bson.objectid import ObjectId

ID: Final = "_id"
ORDERED: Final = frozenset({"numbers", "strings", "dates", "object ids", "binary data"})
"""Kinds of values that have an order which queries follow."""
AS_IT_IS: Final[CodecOptions[dict[str, Any]]] = CodecOptions(
    tz_aware=True,
    datetime_conversion=DatetimeConversion.DATETIME_AUTO,
    unicode_decode_error_handler="surrogateescape",
)
"""Reads every document, also one with a date beyond the year 9999 or bytes that are no text in it."""

Query = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Position:
    """A place in the order: the value of the ordering field, and the `_id`, of the last document up to there."""

    by: Any
    id: Any

    def dump(self) -> str:
        """As text, which says the types too."""
        return json_util.dumps({"by": self.by, "id": self.id}, json_options=json_util.CANONICAL_JSON_OPTIONS)

    @classmethod
    def load(cls, text: str) -> Position | None:
        """What `dump` wrote; None for an empty text: before the first document."""
        if not text:
            return None
        found = json_util.loads(text, json_options=json_util.CANONICAL_JSON_OPTIONS)
        return cls(found["by"], found["id"])


@dataclass(frozen=True, slots=True)
class Order:
    """The order by one field of the documents."""

    field: str

    def position(self, document: Mapping[str, Any]) -> Position:
        """Where a document stands. A field that is not there counts as null."""
        return Position(document.get(self.field), document[ID])

    @property
    def names(self) -> list[str]:
        """The fields that decide, the first one first."""
        return [ID] if self.field == ID else [self.field, ID]

    def sort(self, direction: int = 1) -> list[tuple[str, int]]:
        """For `Cursor.sort`; -1 is the last document first."""
        return [(name, direction) for name in self.names]

    def between(self, after: Position | None, last: Position | None) -> Query:
        """The documents after a position and up to and with another one; None is no bound."""
        bounds = []
        if after is not None:
            bounds.append(self._bound("$gt", "$gt", after))
        if last is not None:
            bounds.append(self._bound("$lt", "$lte", last))
        return {"$and": bounds} if len(bounds) == 2 else bounds[0] if bounds else {}

    def _bound(self, beyond: str, tied: str, at: Position) -> Query:
        if self.field == ID:
            return {ID: {tied: at.id}}
        return {"$or": [{self.field: {beyond: at.by}}, {self.field: at.by, ID: {tied: at.id}}]}


def kind_of(value: Any) -> str:
    """The kind of a value, in words; values of one kind in ORDERED can be compared with each other."""
    if value is None:
        return "nothing"
    if isinstance(value, str):
        return "strings" if _is_text(value) else "bytes that are no UTF-8 text"
    if isinstance(value, float) and value != value:
        return "NaN"
    for kind, types in _KINDS.items():
        if isinstance(value, types):
            return kind
    return f"values of type {type(value).__name__}"


_KINDS: Final[Mapping[str, tuple[type, ...]]] = {
    "true or false": (bool,),  # before the numbers, which it is one of in Python
    "numbers": (int, float),
    "dates": (datetime, DatetimeMS),
    "object ids": (ObjectId,),
    "binary data": (bytes, Binary),
}


def _is_text(value: str) -> bool:
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True
