"""Who changed what, when: a stream in the flow's Redis with the newest entries. What Redis does not take is logged."""

from __future__ import annotations

import getpass
import logging
import socket
from typing import Any, Final

import msgspec

from dataflow.errors import DataflowError
from dataflow.store.keys import Keys
from dataflow.store.redis import Client, call

KEPT: Final = 10_000
"""Newest entries that are kept, or a few more: Redis lets go of whole blocks."""

log = logging.getLogger("dataflow.history")


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """One change. `at_ms`: ms since 1970, by the clock of Redis. `request`: id of the request, if there was one."""

    at_ms: int
    who: str
    what: str
    subject: str
    request: str
    facts: dict[str, Any]


def person(by: str = "cli") -> str:
    """Who sits at a command line, or has started the process that changes something: `cli@host user`."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # a container whose user has no name
        user = "?"
    return f"{by}@{socket.gethostname()} {user}"


def record(
    redis: Client, keys: Keys, who: str, what: str, subject: str = "", *, request: str = "", **facts: Any
) -> None:
    """Note a change that was made. Blocks for Redis; never raises on its account: the change stands either way."""
    fields = {"who": who, "what": what, "subject": subject, "request": request}
    flat = [part for pair in fields.items() for part in pair]
    try:
        call(redis, "XADD", keys.history, "MAXLEN", "~", KEPT, "*", *flat, "facts", msgspec.json.encode(facts))
    except DataflowError as error:
        log.warning("not kept in Redis (%s): %s %s by %s, %s", error, what, subject, who, facts)


def read(redis: Client, keys: Keys, count: int) -> list[Entry]:
    """The newest entries, the oldest of them first. Raises ServerAway, OutcomeUnknown (ask again)."""
    rows = call(redis, "XREVRANGE", keys.history, "+", "-", "COUNT", count)
    return [_entry(id_, fields) for id_, fields in reversed(rows)]


def _entry(id_: bytes, fields: list[bytes]) -> Entry:
    texts = {name.decode(): value.decode() for name, value in zip(fields[::2], fields[1::2], strict=True)}
    facts = msgspec.json.decode(texts.pop("facts"))
    return Entry(at_ms=int(id_.partition(b"-")[0]), facts=facts, **texts)
