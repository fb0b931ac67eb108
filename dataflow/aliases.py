"""By which words a request may mean a declared connection. Nothing that a request names is ever connected to."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final
from urllib.parse import urlsplit

from dataflow.flow.spec import Connection, Flow

_PORTS: Final = {"redis": 6379, "clickhouse": 9000, "mongo": 27017}


def words_for(connection: Connection) -> frozenset[str]:
    """Everything that a connection may be called: its name, its aliases, and host:port of its own address.

    As it is compared: without a slash at the end. Holds no secret.
    """
    return frozenset(map(_bare, (connection.name, *connection.aliases, *_own(connection))))


def is_meant(connection: Connection, given: Iterable[str]) -> bool:
    """Whether each of these words means this connection."""
    return {_bare(word) for word in given} <= words_for(connection)


def meant(flow: Flow, kind: str, given: Iterable[str]) -> list[Connection]:
    """The connections of a kind that all of these words mean, in the order of the flow file."""
    words = list(given)
    return [one for one in flow.connections.values() if one.kind == kind and is_meant(one, words)]


def _own(connection: Connection) -> list[str]:
    """host:port of a server that has one host, alone and with its scheme and path; no secret."""
    if connection.embedded:
        return []
    try:
        parts = urlsplit(connection.url)
        host, port = parts.hostname, parts.port or _PORTS[connection.kind]
    except ValueError:  # several hosts
        return []
    if not host:
        return []
    place = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    return [place, f"{parts.scheme}://{place}", f"{parts.scheme}://{place}{parts.path}"]


def _bare(word: str) -> str:
    return word.rstrip("/")
