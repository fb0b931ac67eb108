"""MongoDB through pymongo: one client per server, its errors as ours, the collection that an edge names."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final, TypeAlias

import pymongo
from bson.codec_options import CodecOptions
from pymongo.errors import (
    ConfigurationError,
    ConnectionFailure,
    InvalidURI,
    OperationFailure,
    PyMongoError,
    ServerSelectionTimeoutError,
)

from dataflow.errors import OutcomeUnknown, ServerAway, TargetRefused, UserError
from dataflow.flow.spec import DEFAULT_DATABASE, Edge
from dataflow.masking import mask_urls
from dataflow.outbox import AS_IT_IS, ID, Order, Position

MongoClient: TypeAlias = pymongo.MongoClient[dict[str, Any]]
Collection: TypeAlias = pymongo.collection.Collection[dict[str, Any]]

FIND_MS: Final = 5_000
"""How long a server is looked for before it counts as away."""
ANSWER_MS: Final = 60_000
"""How long a server may take to answer."""

_AWARE: Final[CodecOptions[dict[str, Any]]] = CodecOptions(tz_aware=True)


def connect(url: str) -> MongoClient:
    """The client of a server. Contacts nobody; thread-safe. What the URL says about patience goes first.

    Raises UserError: the URL cannot be used.
    """
    patience: dict[str, Any] = {key: ms for key, ms in _PATIENCE.items() if key.lower() not in url.lower()}
    try:
        return pymongo.MongoClient(url, connect=False, **patience)
    except (ConfigurationError, InvalidURI, ValueError) as error:
        raise UserError(f"the address {mask_urls(url)} cannot be used: {mask_urls(str(error))}") from None


_PATIENCE: Final = {
    "serverSelectionTimeoutMS": FIND_MS,
    "connectTimeoutMS": FIND_MS,
    "socketTimeoutMS": ANSWER_MS,
}


def collection_of(client: MongoClient, edge: Edge) -> Collection:
    """The collection that an edge names. Contacts nobody. Raises ValueError: it names none."""
    if edge.table is None:
        raise ValueError(f"edge {edge.name!r} names no collection")
    return collection(client, database_of(client, edge), edge.table)


def is_embedded(client: MongoClient) -> bool:
    """Whether this is the embedded server, which does not compare all that a MongoDB does. Raises PyMongoError."""
    return bool(client.admin.command("buildInfo").get("process") == "nx_27017")


def database_of(client: MongoClient, edge: Edge) -> str:
    """The name of the database of an edge's collection: the edge's own, the one in the URL, else `dataflow`."""
    return edge.database or client.get_default_database(DEFAULT_DATABASE).name


def collection(client: MongoClient, database: str, name: str) -> Collection:
    """A collection by its names. Dates come out of it with their zone, UTC. Contacts nobody."""
    return client.get_database(database).get_collection(name, codec_options=_AWARE)


@contextmanager
def answered(what: str) -> Iterator[None]:
    """Turn pymongo's errors into ours; `what` begins the sentence.

    Raises ServerAway (nothing was sent), OutcomeUnknown (no answer), TargetRefused (the server said no).
    """
    try:
        yield
    except ServerSelectionTimeoutError as error:
        raise ServerAway(f"{what}: the MongoDB cannot be reached: {_first(error)}") from error
    except ConnectionFailure as error:
        raise OutcomeUnknown(f"{what}: the MongoDB did not answer: {_first(error)}") from error
    except OperationFailure as error:
        raise TargetRefused(f"{what}: the MongoDB refuses: {_first(error)}") from error
    except PyMongoError as error:
        raise OutcomeUnknown(f"{what}: {_first(error)}") from error


class Collections:
    """The collections of one server, as the audit and the search for a message ask them. Blocking.

    Args:
        client: closed elsewhere.
    """

    def __init__(self, client: MongoClient) -> None:
        self._client = client

    def count(self, edge: Edge) -> int:
        """Documents in the collection of an edge. Raises ServerAway, OutcomeUnknown, TargetRefused."""
        with answered(f"edge {edge.name!r}"):
            return collection_of(self._client, edge).count_documents({})

    def count_up_to(self, edge: Edge, position: str) -> int:
        """Documents of a collection up to and with the position of the edge that reads it. Raises as `count`."""
        query = Order(edge.by).between(None, Position.load(position))
        with answered(f"edge {edge.name!r}"):
            documents = collection_of(self._client, edge).with_options(codec_options=AS_IT_IS)
            if is_embedded(self._client):  # its counts of ranges are wrong
                return sum(1 for _ in documents.find(query, {ID: 1}))
            return documents.count_documents(query)

    def document(self, edge: Edge, mid: str) -> dict[str, Any] | None:
        """The document that a message became, None if there is none. Raises as `count`."""
        with answered(f"edge {edge.name!r}"):
            return collection_of(self._client, edge).find_one({"_id": mid})


def _first(error: Exception) -> str:
    """What an error says, without the account of every server that pymongo adds."""
    return mask_urls(str(error).partition(", Timeout:")[0].partition(", full error:")[0])
