"""A TCP proxy in front of a ClickHouse that cuts the connection of the next INSERT at a chosen point."""

from __future__ import annotations

import select
import socket
import threading
from types import TracebackType
from typing import Literal, Self

from dataflow.clickhouse.address import ServerAddress

Point = Literal["query", "ready", "half", "end", "answer"]
"""query: the server never sees the INSERT. ready: it was ready for rows, and none came. half: half of the rows came.
end: all came, but not the mark of their end. answer: all was done, and the answer is lost."""

END_MARK = b"\x02\x00\x01\x00\x02\xff\xff\xff\xff\x00\x00\x00"
"""An empty block as the driver sends it to this server."""
QUIET_S = 0.3
"""When nothing came for so long, the client waits for an answer."""


class Cutter:
    """As a context manager. `url` is its own address; `arm` chooses the point; after the cut it carries everything."""

    def __init__(self, url: str) -> None:
        address = ServerAddress.read(url)
        self._server = (address.host, address.port)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._point: Point | None = None
        self.cuts = 0
        self.sent = b""
        self.ended_with_mark = False

    @property
    def url(self) -> str:
        return f"clickhouse://127.0.0.1:{self._listener.getsockname()[1]}"

    def arm(self, point: Point) -> None:
        self._point = point

    def __enter__(self) -> Self:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._carry, args=(client,), daemon=True).start()

    def _carry(self, client: socket.socket) -> None:
        with client, socket.create_connection(self._server) as server:
            other = {client: server, server: client}
            while True:
                for ready in select.select([client, server], [], [])[0]:
                    data = _received(ready)
                    if not data:
                        return
                    if ready is client:
                        self.sent += data
                        if self._point and b"INSERT INTO" in data:
                            self._cut(client, server, data)
                            return
                    other[ready].sendall(data)

    def _cut(self, client: socket.socket, server: socket.socket, query: bytes) -> None:
        point, self._point = self._point, None
        self.cuts += 1
        if point == "query":
            return
        server.sendall(query + _all(client))
        client.sendall(_all(server))
        rows = _all(client)
        self.sent += rows
        self.ended_with_mark = rows.endswith(END_MARK)
        if point == "half":
            server.sendall(rows[: len(rows) // 2])
        elif point == "end":
            server.sendall(rows.removesuffix(END_MARK))
            _all(server)
        elif point == "answer":
            server.sendall(rows)
            server.recv(1)


def _all(side: socket.socket) -> bytes:
    """Everything that comes until it is quiet."""
    data = b""
    while select.select([side], [], [], QUIET_S)[0]:
        more = _received(side)
        if not more:
            break
        data += more
    return data


def _received(side: socket.socket) -> bytes:
    try:
        return side.recv(65536)
    except OSError:
        return b""
