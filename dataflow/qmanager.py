"""Streams for people who script: the verbs of older hand-made systems, on Redis itself, without an agent between.

    from dataflow.qmanager import QManager

    qm = QManager(batch_size=100, redis_agent_host="redis://:password@127.0.0.1:6379/0")
    qm.ensure_group("BUFF.andy.test0.stream_out")
    qm.parrallel_write_msg("BUFF.andy.test0.stream_out", data_listofdict=[{"msg_id": 1, "data": "test"}])

With a flow (`flow=`, or the variable DATAFLOW_FLOW) a connection is named instead, by its name or one of its aliases,
and the names of the flow's streams mean these; other names mean keys. Answers are {"msg", "status", "data"} where the
older class gave that. What did not happen raises: scripts of the older kind delete at the source right after the write,
without a look at its answer.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from redis.exceptions import ResponseError

from dataflow.aliases import meant
from dataflow.connections import resolve
from dataflow.errors import (
    DataflowError,
    NotDeclared,
    OutcomeUnknown,
    StreamFull,
    UnknownName,
    UserError,
)
from dataflow.faults import show
from dataflow.flow.load import load
from dataflow.flow.spec import Flow, Stream
from dataflow.message import Codec, message_id, meta, request_id
from dataflow.store.door import Door, Outgoing
from dataflow.store.keys import Keys, StreamKeys
from dataflow.store.redis import Client, call, connect
from dataflow.store.script import script

MSG_ID: Final = "_msg_id"
"""The key under which `xrange` gives an entry's id."""
GROUP: Final = "qmanager"
"""The consumer group that `ensure_group` makes if none is named."""
CHUNK_MESSAGES: Final = 500
CHUNK_BYTES: Final = 4 * 1024 * 1024
"""Most that one script appends; it holds up everyone else while it runs."""
CHUNK_IDS: Final = 1000

_ID: Final = re.compile(r"\d{1,20}(-\d{1,20})?")
_MOST_ID: Final = (1 << 64) - 1
_SCHEMES: Final = ("redis://", "rediss://", "unix://")
_SHOWN: Final = (
    "cluster_enabled", "role", "total_system_memory_human", "used_memory_peak_human", "used_memory_human",
    "connected_clients",
)  # fmt: skip

Answer = dict[str, Any]


class PartlyWritten(DataflowError):
    """Some messages were stored, and the rest were not.

    `stored` is how many of the first were. `unsure` is how many after them may have been.
    """

    exit_code = 4

    def __init__(self, stored: int, unsure: int, total: int, cause: Exception) -> None:
        self.stored, self.unsure = stored, unsure
        doubt = f", of the next {unsure} it is not known" if unsure else ""
        super().__init__(f"the first {stored} of {total} messages were stored{doubt}, the rest were not: {cause}")


class QManager:
    """Reads and writes the streams of one Redis. Thread-safe. Every method blocks until Redis has answered.

    Every method raises ServerAway, OutcomeUnknown and, for a key that is no stream, redis.exceptions.ResponseError.

    Args:
        batch_size: messages that `xrange` gives if not told otherwise, and for which `_is_q_available` wants room.
        redis_agent_host: address of a Redis (redis://, rediss://, unix://); or, with a flow, a word for one of its
            connections. None: the flow's first Redis.
        redis_connection_hash: with a flow, one more word for the connection.
        q_max_len: entries that a stream may hold before writers are told to wait; declared streams have their own.
        flow: path of the flow file; None takes DATAFLOW_FLOW, if that is set and no address is given.

    Raises UserError: no server is named, or words that mean none or several. FlowError. NotRunning.
    """

    def __init__(
        self,
        batch_size: int = 1000,
        redis_agent_host: str | None = None,
        redis_connection_hash: str | None = None,
        q_max_len: int = 100_000,
        *,
        flow: str | Path | None = None,
    ) -> None:
        if batch_size < 1 or q_max_len < 1:
            raise UserError(f"batch_size and q_max_len must be at least 1, not {batch_size} and {q_max_len}")
        self.batch_size, self.q_max_len = batch_size, q_max_len
        self._flow, self._on, url = _found(redis_agent_host, redis_connection_hash, flow)
        self._redis: Client = connect(url)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the server. Safe to call twice."""
        self._redis.close()

    def ensure_group(self, stream: str, group: str | None = None) -> Answer:
        """Make the stream and a consumer group that reads it from its start, where they are missing.

        A flow's stream has the readers that the flow declares; `data` names them, and nothing is made. Raises UserError
        for a `group` that is not one of them.
        """
        if self._declared(stream):
            readers = self._readers(stream)
            if group not in (None, *readers):
                raise UserError(f"stream {stream!r} is the flow's: declare reader {group!r} in the flow file")
            return _answer(readers)
        name = group or GROUP
        try:
            call(self._redis, "XGROUP", "CREATE", self._keys(stream).stream, name, "0", "MKSTREAM")
        except ResponseError as error:
            if not str(error).startswith("BUSYGROUP"):
                raise
        return _answer([name])

    def stream_len(self, stream: str) -> int:
        """How many entries a stream holds; 0 for one that does not exist."""
        return int(call(self._redis, "XLEN", self._keys(stream).stream))

    def _is_q_available(self, stream: str) -> bool:
        """Whether there is room for `batch_size` more messages, and at least one."""
        return self.stream_len(stream) + self.batch_size <= self._max_len(stream)

    def parrallel_write_msg(self, stream: str, data_listofdict: Sequence[Mapping[str, Any]]) -> Answer:
        """Append messages, in order; `data` is their number. A full stream takes none, and nothing is ever cut off.

        `_msg_id`, as `xrange` gives it, is left out. Into a flow's stream they go as through the hub: checked against
        its schema, with a new `_mid`, and counted.

        Raises:
            InvalidMessage, UserError, StreamFull, ServerFull, NotDeclared: nothing was stored.
            PartlyWritten: see there. The same list again would store some twice; go on behind those stored.
        """
        rows = self._encoded(stream, data_listofdict)
        depth, max_len = self.stream_len(stream), self._max_len(stream)
        if rows and depth + len(rows) > max_len:
            raise StreamFull(stream, depth, max_len)
        stored = 0
        for chunk in _chunks(rows):
            try:
                self._append(stream, chunk)
            except (DataflowError, ResponseError) as error:
                unsure = len(chunk) if isinstance(error, OutcomeUnknown) else 0
                if not stored and (not unsure or unsure == len(rows)):
                    raise
                raise PartlyWritten(stored, unsure, len(rows), error) from error
            stored += len(chunk)
        return _answer(stored)

    def xrange(self, stream: str, start: str = "-", end: str = "+", count: int | None = None) -> Answer:
        """The oldest entries: `data` is a list of dicts with `_msg_id`, `_mid` where there is one, and the fields.

        Nothing is acknowledged or deleted. Fields of a flow's stream have the types of its schema, others are text or
        None.

        Args:
            start, end: entry ids; `(` before one leaves it out.
            count: how many at most; None: `batch_size`.

        Raises InvalidMessage, if an entry cannot be read.
        """
        most = self.batch_size if count is None else count
        found = call(self._redis, "XRANGE", self._keys(stream).stream, start, end, "COUNT", most)
        codec = self._codec(stream)
        return _answer([_decoded(codec, id_, fields) for id_, fields in found or []])

    @staticmethod
    def extract_msg_id(msg_list: Iterable[Mapping[str, Any]]) -> list[str]:
        """The entry ids of what `xrange` gave."""
        return [str(message[MSG_ID]) for message in msg_list]

    def xdel(self, stream: str, mid_or_list: str | Sequence[str], *, force: bool = False) -> Answer:
        """Delete entries by their ids; `data` is how many were there.

        A stream with declared readers is refused: they have not all had these entries, and delete them themselves when
        they have. `force` deletes nevertheless: readers never see what they had not read, `dataflow audit` reports it,
        and an edge whose batch is under way pauses itself.

        Raises UserError: refused, or an id that is none; nothing was deleted.
        """
        ids = [mid_or_list] if isinstance(mid_or_list, str) else list(mid_or_list)
        for id_ in ids:
            if not _is_id(id_):
                raise UserError(f"{show(id_)!r} is not the id of an entry; nothing was deleted")
        return _answer(sum(self._delete(stream, ids[n : n + CHUNK_IDS], force) for n in range(0, len(ids), CHUNK_IDS)))

    def info(self) -> Answer:
        """What the server says of itself."""
        lines = call(self._redis, "INFO").decode(errors="replace").splitlines()
        facts = dict(line.split(":", 1) for line in lines if ":" in line)
        return _answer({name: _number(facts[name]) for name in _SHOWN if name in facts})

    # streams

    def _declared(self, stream: str) -> Stream | None:
        """The flow's stream of this name."""
        found = self._flow.streams.get(stream) if self._flow else None
        if found is not None and found.on != self._on:
            raise UserError(f"stream {stream!r} is on connection {found.on!r}, not {self._on!r}")
        return found

    def _keys(self, stream: str) -> StreamKeys:
        if self._flow is not None and self._declared(stream):
            return Keys(self._flow.name).stream(stream)
        return StreamKeys(stream)

    def _max_len(self, stream: str) -> int:
        declared = self._declared(stream)
        return self.q_max_len if declared is None else declared.max_len

    def _readers(self, stream: str) -> list[str]:
        return [name.decode() for name in call(self._redis, "HKEYS", self._keys(stream).groups)]

    def _codec(self, stream: str) -> Codec:
        declared = self._declared(stream)
        return Codec(None if declared is None else declared.schema)

    # writing

    def _encoded(self, stream: str, messages: Sequence[Mapping[str, Any]]) -> list[list[bytes]]:
        """Entries, complete. What stands in a message under a name of ours is kept in streams of no flow alone."""
        rows = self._codec(stream).encode_all([_users(message) for message in messages])
        if self._declared(stream):
            request = request_id()
            return [meta(message_id(request, n), "qmanager") + row for n, row in enumerate(rows)]
        whole = [_kept(message) + row for message, row in zip(messages, rows, strict=True)]
        if not all(whole):
            raise UserError(f"message {whole.index([])} has no fields, which no stream takes; nothing was written")
        return whole

    def _append(self, stream: str, rows: Sequence[list[bytes]]) -> None:
        if self._flow is not None and self._declared(stream):
            Door(self._redis, Keys(self._flow.name)).append([Outgoing(stream, row) for row in rows])
            return
        at = self._keys(stream)
        args = [part for row in rows for part in (len(row), *row)]
        answer = script("put").run(self._redis, [at.stream, at.counts, at.groups], [self.q_max_len, *args])
        if answer[0] == b"FULL":
            raise StreamFull(stream, answer[1], self.q_max_len)
        if answer[0] == b"OWNED":
            raise UserError(f"stream {stream!r} is a flow's: give QManager that flow; nothing was written")
        if answer[0] != b"OK":
            raise NotDeclared(f"the key {stream!r} holds something that is not a stream; nothing was written")

    def _delete(self, stream: str, ids: Sequence[str], force: bool) -> int:
        at = self._keys(stream)
        answer = script("remove").run(self._redis, [at.stream, at.counts, at.groups], [int(force), *ids])
        if answer[0] == b"OWNED":
            readers = ", ".join(name.decode() for name in answer[1:])
            raise UserError(
                f"stream {stream!r} has declared readers ({readers}), which delete what they have finished; nothing "
                "was deleted. To lose entries on purpose, use force=True"
            )
        return int(answer[1])


def _found(host: str | None, hash_: str | None, path: str | Path | None) -> tuple[Flow | None, str, str]:
    """The flow, if any, the name of the connection and the address of the Redis that is meant."""
    if path is None and host is not None and host.startswith(_SCHEMES):
        if hash_ is not None:
            raise UserError("redis_connection_hash says nothing beside the address of a Redis: leave it out")
        return None, "", host
    path = path or os.environ.get("DATAFLOW_FLOW")
    if not path:
        raise UserError(
            "no Redis is named: give redis_agent_host='redis://host:port/0', or a flow file (flow=... or "
            "DATAFLOW_FLOW) whose connections list the address or hash as an alias"
        )
    flow = load(Path(path))
    name = _connection(flow, [word for word in (host, hash_) if word is not None])
    return flow, name, resolve(flow).redis[name]


def _connection(flow: Flow, words: Sequence[str]) -> str:
    if not words:
        return flow.home
    found = [one.name for one in meant(flow, "redis", words)]
    if len(found) == 1:
        return found[0]
    shown = " and ".join(repr(show(word)) if "@" not in word else "an address with a password" for word in words)
    if found:
        raise UserError(f"{shown} may mean several connections ({', '.join(found)}): give the hash or the name, too")
    raise UnknownName(f"no Redis connection of flow {flow.name!r} is known as {shown}: list it under its `aliases`")


def _ours(name: object) -> bool:
    return isinstance(name, str) and name.startswith("_")


def _users(message: object) -> Any:
    """A message without the fields that are ours; what is no message is left for the codec to refuse."""
    if not isinstance(message, Mapping):
        return message
    return {name: value for name, value in message.items() if not _ours(name)}


def _kept(message: Mapping[str, Any]) -> list[bytes]:
    """Fields of ours that a message brings along from another stream, but for its former place."""
    kept = [name for name in message if _ours(name) and name not in (MSG_ID, "_null") and message[name] is not None]
    return [part.encode() for name in kept for part in (name, str(message[name]))]


def _decoded(codec: Codec, id_: bytes, fields: Sequence[bytes]) -> dict[str, Any]:
    found = codec.decode(fields)
    ours = {MSG_ID: id_.decode()} if found.mid is None else {MSG_ID: id_.decode(), "_mid": found.mid}
    return {**ours, **found.message}


def _chunks(rows: Sequence[list[bytes]]) -> Iterator[list[list[bytes]]]:
    """Parts of at most CHUNK_MESSAGES and about CHUNK_BYTES."""
    part: list[list[bytes]] = []
    size = 0
    for row in rows:
        weight = sum(map(len, row))
        if part and (len(part) == CHUNK_MESSAGES or size + weight > CHUNK_BYTES):
            yield part
            part, size = [], 0
        part.append(row)
        size += weight
    if part:
        yield part


def _is_id(id_: object) -> bool:
    if not isinstance(id_, str) or not _ID.fullmatch(id_):
        return False
    return all(int(part) <= _MOST_ID for part in id_.split("-"))


def _number(text: str) -> int | str:
    with suppress(ValueError):
        return int(text)
    return text


def _answer(data: object) -> Answer:
    return {"msg": "ok", "status": True, "data": data}
