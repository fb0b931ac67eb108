"""A MongoDB server: reachable, writable, with the right time, and an index for who reads it in order."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any, Final

import pymongo
from pymongo.errors import ConfigurationError, OperationFailure, PyMongoError

from dataflow.doctor.clock import judge_clock
from dataflow.doctor.finding import Finding
from dataflow.flow.spec import Edge
from dataflow.masking import mask_urls
from dataflow.mongo import MongoClient, collection_of, is_embedded
from dataflow.outbox import ID

TIMEOUT_MS: Final = 3000


def examine(name: str, url: str, edges: Iterable[Edge] = ()) -> list[Finding]:
    """Look at the server of a connection. Blocks for some seconds at most. Changes nothing.

    Args:
        edges: those that read collections of it in the order of a field.
    """
    subject = f"mongo {name}"
    limits = {"serverSelectionTimeoutMS": TIMEOUT_MS, "connectTimeoutMS": TIMEOUT_MS, "socketTimeoutMS": TIMEOUT_MS}
    try:
        with pymongo.MongoClient[dict[str, Any]](url, **limits) as client:  # type: ignore[arg-type]
            client.admin.command("ping")
            began, clock = time.perf_counter(), time.time()
            hello = client.admin.command("hello")
            took_s = time.perf_counter() - began
            version = str(client.server_info().get("version", ""))
            client.get_default_database("flask_aps").list_collection_names()
            looked = [] if is_embedded(client) else [judge_index(one, indexes_for(client, one)) for one in edges]
    except OperationFailure as error:
        remedy = "correct user and password in the address, and give the user the role readWrite on the database"
        return [Finding(subject, "wrong", "refused", f"it does not let us in: {_line(error)}", remedy)]
    except (PyMongoError, ConfigurationError, ValueError) as error:
        remedy = "start it, or correct the address of this connection"
        return [Finding(subject, "wrong", "unreachable", f"it cannot be reached: {_line(error)}", remedy)]
    return [*judge(subject, hello, version, took_s, clock), *looked]


def indexes_for(client: MongoClient, edge: Edge) -> dict[str, Any]:
    """The indexes of the collection that an edge names, as `index_information` gives them. Raises PyMongoError."""
    return dict(collection_of(client, edge).index_information())


def judge_index(edge: Edge, indexes: Mapping[str, Mapping[str, Any]]) -> Finding:
    """Whether an edge finds the next documents without looking through all of them. Pure."""
    subject, wanted = f"edge {edge.name}", edge.by if edge.by == ID else f"{edge.by}, {ID}"
    for name, index in indexes.items():
        field, direction = index["key"][0]
        whole = not index.get("sparse") and "partialFilterExpression" not in index
        if field == edge.by and direction in (1, -1) and whole:
            return Finding(subject, "ok", "index", f"{edge.table} is read by the index {name}")
    text = f"{edge.table} has no index that begins with `{edge.by}`: each batch is looked for among all its documents"
    return Finding(subject, "note", "index", text, f"make an index of ({wanted}), both ascending")


def judge(subject: str, hello: Mapping[str, Any], version: str, took_s: float, clock: float) -> Iterator[Finding]:
    """What is to be said about a server. Pure. Args: clock: seconds since 1970 when `hello` was asked."""
    told = f"MongoDB {version}" if version else "a MongoDB"
    yield Finding(subject, "ok", "version", f"{told} answers in {took_s * 1000:.1f} ms")
    if not hello.get("isWritablePrimary", hello.get("ismaster", True)):
        remedy = "name all members and `replicaSet=` in the address, so that the primary is found"
        yield Finding(subject, "wrong", "primary", "it takes no writes: it is no primary", remedy)
    local = hello.get("localTime")
    if isinstance(local, datetime):
        yield judge_clock(subject, local.replace(tzinfo=UTC).timestamp() - (clock + took_s / 2))


def _line(error: Exception) -> str:
    return mask_urls((str(error).splitlines() or [type(error).__name__])[0])[:200]
