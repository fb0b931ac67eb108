"""Append messages to streams: all or none, with room check and idempotency record in one script."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from dataflow.errors import DataflowError, NotDeclared, StreamFull, UserError
from dataflow.message import MID
from dataflow.store.keys import Keys
from dataflow.store.packing import packed, packed_columns
from dataflow.store.redis import Client, call
from dataflow.store.script import script

MAX_MESSAGES = 1000
"""Most messages of one append; a script holds up everyone else while it runs."""


class Outgoing(NamedTuple):
    """One message on its way into a stream: [name, value, ...], `_mid` and `_path` first unless a stamp gives them."""

    stream: str
    fields: list[bytes]


class Alike(NamedTuple):
    """Messages on their way into one stream that have all the same names, at least one: for each the values of all."""

    stream: str
    names: Sequence[bytes]
    columns: Sequence[Sequence[bytes]]


Outgoings = Sequence[Outgoing] | Alike


class Stamp(NamedTuple):
    """What all messages of one request begin with: the ids `<request_id>-<0, 1 ...>`, and the path."""

    request_id: str
    path: str

    def mids(self, count: int) -> list[bytes]:
        """The ids of so many messages."""
        request = self.request_id.encode()
        return [b"%b-%d" % (request, index) for index in range(count)]


def per_stream(outgoing: Outgoings) -> Mapping[str, int]:
    """How many messages go to which stream."""
    if isinstance(outgoing, Alike):
        return {outgoing.stream: len(outgoing.columns[0])}
    return Counter(message.stream for message in outgoing)


@dataclass(frozen=True, slots=True)
class Record:
    """An idempotency record: the same `key` with the same `body_digest` within `ttl_s` is answered, not repeated."""

    key: str
    body_digest: str
    request_id: str
    count: int
    ttl_s: int


@dataclass(frozen=True, slots=True)
class Appended:
    """What was stored. `repeated`: nothing new was; `request_id` and `count` are those of the first time."""

    request_id: str
    count: int
    repeated: bool


class KeyReused(UserError):
    """This idempotency key was used before with another body; nothing was stored."""


class Door:
    """Appends to the streams of one flow. Thread-safe; every call blocks until Redis has answered."""

    def __init__(self, redis: Client, keys: Keys) -> None:
        self._redis = redis
        self._keys = keys

    def append(
        self,
        outgoing: Outgoings,
        *,
        writer: str = "door",
        record: Record | None = None,
        stamp: Stamp | None = None,
    ) -> Appended:
        """Store all messages, or none.

        Args:
            outgoing: 1 to MAX_MESSAGES messages, in the order in which each stream shall hold them.
            writer: the counter they are booked under.
            record: look the request up first and remember it if it is new.
            stamp: what the messages lack: their ids and their path; None if they are complete.

        Raises:
            StreamFull, NotDeclared, KeyReused, ServerAway, ServerFull: nothing was stored.
            OutcomeUnknown: all or none was stored; the same call with the same record is safe.
        """
        numbers = per_stream(outgoing)
        count, names = sum(numbers.values()), list(numbers)
        if not 1 <= count <= MAX_MESSAGES:
            raise ValueError(f"append takes 1 to {MAX_MESSAGES} messages, not {count}")
        keys = [self._keys.idempotency(record.key if record else "none")]
        for stream in map(self._keys.stream, names):
            keys += (stream.stream, stream.counts)
        if record is None:
            head = ["0", 0, "", "", count]
        else:
            head = ["1", record.ttl_s, record.body_digest, record.request_id, record.count]
        messages, width = _packed(outgoing, names, stamp)
        args = [writer, *head, stamp.path if stamp else "", messages]
        answer = script("append", width).run(self._redis, keys, args)
        if answer[0] == b"OK":
            return Appended(record.request_id if record else "", count, repeated=False)
        if answer[0] == b"SEEN":
            return Appended(answer[1].decode(), answer[2], repeated=True)
        raise refusal(answer, names)

    def recall(self, record: Record) -> Appended | None:
        """The first answer to a request that was stored under this key with this body; None if there is none.

        Raises ServerAway, OutcomeUnknown (ask again).
        """
        key = self._keys.idempotency(record.key)
        digest, request, count = call(self._redis, "HMGET", key, "digest", "request", "count")
        if digest != record.body_digest.encode():
            return None
        return Appended(request.decode(), int(count), repeated=True)


def _packed(outgoing: Outgoings, streams: Sequence[str], stamp: Stamp | None) -> tuple[bytes, int]:
    """The messages as the script takes them, with their ids, and how many names each has (0: that differs); their path
    is put in there."""
    if isinstance(outgoing, Alike):
        _, names, columns = outgoing
        if stamp is not None:
            names, columns = [MID, *names], [stamp.mids(len(columns[0])), *columns]
        return packed_columns(0, names, columns), len(names)
    numbers = {name: number for number, name in enumerate(streams)}
    if stamp is None:
        return packed([(numbers[name], fields) for name, fields in outgoing]), 0
    mids = stamp.mids(len(outgoing))
    rows = [(numbers[name], [MID, mid, *fields]) for mid, (name, fields) in zip(mids, outgoing, strict=True)]
    return packed(rows), 0


def refusal(answer: list[Any], names: Sequence[str]) -> DataflowError:
    """The error for a script's refusal that names a target by its number."""
    if answer[0] == b"REUSED":
        return KeyReused("this Idempotency-Key was used before with another body; use a new key for new messages")
    name = names[answer[1] - 1]
    if answer[0] == b"FULL" and answer[3] < 0:
        return NotDeclared(f"stream {name!r} is not declared in Redis; run `dataflow apply`")
    if answer[0] == b"FULL":
        return StreamFull(name, answer[2], answer[3])
    return NotDeclared(f"the key of stream {name!r} holds something that is not a stream; nothing was written")
