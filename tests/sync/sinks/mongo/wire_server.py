"""Speaks as much of MongoDB's wire protocol as the sink needs, and keeps real BSON: what a real server would, in short.

It can do what the embedded server cannot: hold NaN and infinities, refuse single documents with a code, fail a write
concern, and take a bulk but never answer.
"""

from __future__ import annotations

import socket
import struct
import threading
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Any, Self

import bson
from bson.codec_options import CodecOptions

_OP_MSG, _OP_QUERY, _OP_REPLY = 2013, 2004, 1
_HEADER = struct.Struct("<iiii")
_AWARE: CodecOptions[dict[str, Any]] = CodecOptions(tz_aware=True)
Document = dict[str, Any]
Refuse = Callable[[Document], tuple[int, str] | None]


class WireServer:
    """As a context manager, on a free loopback port.

    `stored` holds the documents by `_id`; `commands` what was asked; `refuse` tells the code and text with which a
    document is refused; `concern` the text of a write concern that was not met; `deaf`: the next update is carried out,
    and the connection cut instead of an answer; `denied`: code with which every update is refused.
    """

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.stored: dict[str, Document] = {}
        self.commands: list[Document] = []
        self.refuse: Refuse = lambda document: None
        self.concern = ""
        self.deaf = False
        self.denied = 0
        self._open: list[socket.socket] = []

    @property
    def url(self) -> str:
        return f"mongodb://127.0.0.1:{self._listener.getsockname()[1]}/"

    def __enter__(self) -> Self:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for connection in self._open:
            connection.close()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self._open.append(connection)
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with connection:
            try:
                while self._answer(connection):
                    pass
            except OSError:
                return

    def _answer(self, connection: socket.socket) -> bool:
        head = _read(connection, _HEADER.size)
        if not head:
            return False
        size, request, _, code = _HEADER.unpack(head)
        body = _read(connection, size - _HEADER.size)
        command = _of_query(body) if code == _OP_QUERY else _of_message(body)
        answer = self._carry_out(command)
        if answer is None:
            return False
        connection.sendall(_reply(code, request, bson.encode(answer)))
        return True

    def _carry_out(self, command: Document) -> Document | None:
        name = next(iter(command))
        if name.lower() in ("hello", "ismaster"):
            return {
                "ok": 1, "isWritablePrimary": True, "ismaster": True, "helloOk": True, "minWireVersion": 0,
                "maxWireVersion": 21, "maxBsonObjectSize": 1 << 24, "maxMessageSizeBytes": 48_000_000,
                "maxWriteBatchSize": 100_000,
            }  # fmt: skip
        if name == "update":
            self.commands.append(command)
            if self.denied:
                return {"ok": 0, "code": self.denied, "errmsg": "not allowed"}
            return self._update(command["updates"])
        return {"ok": 1}

    def _update(self, updates: list[Document]) -> Document | None:
        errors, upserted = [], []
        for index, one in enumerate(updates):
            key, document = one["q"]["_id"], {"_id": one["q"]["_id"], **one["u"]["$setOnInsert"]}
            refused = self.refuse(document)
            if refused is not None:
                errors.append({"index": index, "code": refused[0], "errmsg": refused[1]})
            elif key not in self.stored:
                self.stored[key] = document
                upserted.append({"index": index, "_id": key})
        if self.deaf:
            self.deaf = False
            return None
        answer: Document = {"ok": 1, "n": len(updates) - len(errors), "nModified": 0}
        answer |= {"upserted": upserted} if upserted else {}
        answer |= {"writeErrors": errors} if errors else {}
        answer |= {"writeConcernError": {"code": 64, "errmsg": self.concern}} if self.concern else {}
        return answer


def _read(connection: socket.socket, size: int) -> bytes:
    found = b""
    while len(found) < size:
        part = connection.recv(size - len(found))
        if not part:
            return b""
        found += part
    return found


def _of_query(body: bytes) -> Document:
    """The first question of a driver comes in the old form: flags, name, skip, return, document."""
    at = body.index(b"\0", 4) + 1 + 8
    return bson.decode(body[at:])


def _of_message(body: bytes) -> Document:
    """Flags, then sections: kind 0 is the command, kind 1 a list that belongs to it."""
    command: Document = {}
    for name, documents in _sections(body[4:]):
        if name:
            command[name] = documents
        else:
            command = documents[0] | command
    return command


def _sections(body: bytes) -> Iterator[tuple[str, list[Document]]]:
    while body:
        kind, body = body[0], body[1:]
        (size,) = struct.unpack_from("<i", body)
        part, body = body[:size], body[size:]
        if kind == 0:
            yield "", [bson.decode(part, _AWARE)]
        else:
            end = part.index(b"\0", 4)
            yield part[4:end].decode(), bson.decode_all(part[end + 1 :], _AWARE)


def _reply(code: int, request: int, document: bytes) -> bytes:
    if code == _OP_QUERY:
        body, answer = struct.pack("<iqii", 8, 0, 0, 1) + document, _OP_REPLY
    else:
        body, answer = struct.pack("<iB", 0, 0) + document, _OP_MSG
    return _HEADER.pack(_HEADER.size + len(body), 0, request, answer) + body
