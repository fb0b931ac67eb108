"""Reads the documents of a collection in the order of one field."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import cached_property
from typing import Any, Final

from pymongo.read_concern import ReadConcern
from pymongo.read_preferences import ReadPreference

from dataflow.errors import DataflowError, TargetRefused
from dataflow.flow.spec import Edge
from dataflow.mongo import Collection, MongoClient, answered, collection_of, is_embedded
from dataflow.outbox import AS_IT_IS, ID, ORDERED, Order, Position, kind_of

_EMBEDDED_BY: Final = frozenset({"numbers", "strings"})
_EMBEDDED_ID: Final = frozenset({"strings", "object ids"})
"""What the embedded server compares rightly: dates only to the second, object ids only as `_id`, numbers not there."""


class Disorder(DataflowError):
    """The documents cannot be put in order, so some would be passed over: a person must mend them."""


class OrderedCollection:
    """The collection that an edge reads. Blocking; used by one thread at a time.

    Only what a majority of the servers has is read, from the primary, whatever the URL says.

    Every call raises ServerAway, OutcomeUnknown (nothing is ever changed here), TargetRefused.
    """

    def __init__(self, edge: Edge, client: MongoClient) -> None:
        self._client = client
        self._what = f"edge {edge.name!r}"
        self.order = Order(edge.by)
        self._documents: Collection = collection_of(client, edge).with_options(
            codec_options=AS_IT_IS, read_preference=ReadPreference.PRIMARY, read_concern=ReadConcern("majority")
        )

    def last(self, known: Position | None) -> Position | None:
        """The position of the last document; None in an empty collection.

        Args:
            known: the position up to which documents were read, whose kinds the others must be of.

        Raises Disorder: values of the ordering field, or `_id`s, are of several kinds or of one that has no order.
        """
        end = self._end(self.order.sort(-1))
        if end is None:
            return None
        ends = {name: self._ends(name) for name in self.order.names}
        if known is not None:
            ends[ID].append(known.id)
            ends[self.order.field].append(known.by)
        for name, values in ends.items():
            self._check(name, map(kind_of, values))
        return self.order.position(end)

    def read(self, after: Position | None, last: Position | None, count: int) -> Iterator[dict[str, Any]]:
        """Up to `count` documents after a position and up to and with another, in order.

        Raises Disorder at a document whose value is of another kind; nothing after it is given.
        """
        kinds: dict[str, str] = {}
        with answered(self._what):
            query = self.order.between(after, last)
            for document in self._documents.find(query).sort(self.order.sort()).limit(count):
                for name in self.order.names:
                    kind = kind_of(document.get(name))
                    self._check(name, (kinds.setdefault(name, kind), kind))
                yield document

    def count(self, after: Position | None, last: Position | None, most: int) -> int:
        """How many documents there are between two positions, counted up to `most`."""
        with answered(self._what):
            return len(list(self._documents.find(self.order.between(after, last), {ID: 1}).limit(most)))

    def _ends(self, name: str) -> list[Any]:
        """The lowest and the highest value of a field."""
        found = [self._end([(name, direction)]) for direction in (1, -1)]
        return [one.get(name) for one in found if one is not None]

    def _end(self, sort: list[tuple[str, int]]) -> dict[str, Any] | None:
        with answered(self._what):
            fields = dict.fromkeys(self.order.names, 1)
            return next(iter(self._documents.find({}, fields).sort(sort).limit(1)), None)

    def _check(self, name: str, found: Iterable[str]) -> None:
        kinds = dict.fromkeys(found)
        if len(kinds) > 1 or not ORDERED.issuperset(kinds):
            raise Disorder(
                f"the values of `{name}` are {' and '.join(kinds)}: they must all be there and of one kind "
                f"({', '.join(sorted(ORDERED))}), else documents would be passed over"
            )
        allowed = _EMBEDDED_ID if name == ID else _EMBEDDED_BY
        if self._is_embedded and not allowed.issuperset(kinds):
            raise TargetRefused(
                f"{self._what}: `{name}` holds {next(iter(kinds))}, which the embedded MongoDB does not compare "
                f"rightly; there it can be {' or '.join(sorted(allowed))}. Use such values, or a MongoDB of your own"
            )

    @cached_property
    def _is_embedded(self) -> bool:
        with answered(self._what):
            return is_embedded(self._client)
