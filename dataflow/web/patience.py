"""A gunicorn worker that waits a moment for the next request, and not for ever for the rest of one.

gunicorn's threads read a request with no limit of time: as many clients as there are threads, each gone in the middle
of a request, would stop a service for good. Here a client that sends nothing for `IDLE_S`, or needs more than
`REQUEST_S` for one request, is taken for one that has hung up. A request that broke off is refused by its view, and
nothing of it is stored.

gunicorn hands a connection that is kept back to its main thread after each request, to be given to a thread when the
next one comes: some wake-ups of threads for each, which cost as much as a view. Clients that send much send the next
request as soon as they have the answer, so a thread that nobody else waits for stays with its connection for `STAY_S`.
And it sends the head of an answer and its body apart: two packets, for which most clients wake up twice.
"""

from __future__ import annotations

import select
import socket
import time
from typing import Any, Final

from gunicorn.http.unreader import SocketUnreader
from gunicorn.workers.gthread import ThreadWorker

IDLE_S: Final = 10.0
"""How long a request may stand still on its way."""
REQUEST_S: Final = 120.0
"""How long it may be on its way, head and body."""
STAY_S: Final = 0.002
"""How long a thread waits for the next request of its connection."""


class PatientUnreader(SocketUnreader):  # type: ignore[misc]  # gunicorn has no types
    """Reads a connection; where the client takes too long it tells what it would if the client had hung up."""

    def __init__(self, sock: socket.socket) -> None:
        super().__init__(sock)
        self._until = 0.0
        self.begin()

    def begin(self) -> None:
        """A request begins."""
        self._until = time.monotonic() + REQUEST_S

    def chunk(self, size_hint: int | None = None) -> bytes:
        """The next bytes; none at the end."""
        left_s = min(IDLE_S, self._until - time.monotonic())
        if left_s <= 0:
            return b""
        self.sock.settimeout(left_s)
        try:
            return bytes(super().chunk(size_hint))
        except TimeoutError:
            self._until = 0.0
            return b""
        finally:
            self.sock.settimeout(None)


class WholeAnswers:
    """A connection during one request: what is sent first, the head of the answer, goes out with what follows."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._head: bytes | None = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._sock, name)

    def sendall(self, data: bytes) -> None:
        """Send; the first time, only keep it."""
        if self._head is None:
            self._head = data
        else:
            self._sock.sendall(self._head + data)
            self._head = b""

    def flush(self) -> None:
        """Send what is kept: an answer has no body."""
        if self._head:
            self._sock.sendall(self._head)
            self._head = b""


class PatientWorker(ThreadWorker):  # type: ignore[misc]  # gunicorn has no types
    """gunicorn's worker with threads, whose connections are read by a PatientUnreader."""

    def handle(self, conn: Any) -> Any:
        """Called in a thread: answer the next request of a connection, and those that follow at once.

        Returns whether the connection is kept, or what else gunicorn makes of it.
        """
        if conn.initialized:
            conn.parser.unreader.begin()
        else:
            conn.init = _patiently(conn, conn.init)
        kept = super().handle(conn)
        while kept is True and self._goes_on(conn):
            conn.parser.unreader.begin()
            kept = super().handle(conn)
        return kept

    def handle_request(self, req: Any, conn: Any) -> Any:
        """Called for each request by gunicorn. Returns whether the connection can be kept."""
        sock = conn.sock
        conn.sock = answers = WholeAnswers(sock)
        try:
            kept = super().handle_request(req, conn)
            answers.flush()
            return kept
        finally:
            conn.sock = sock

    def _goes_on(self, conn: Any) -> bool:
        """Whether the next request begins to arrive before anyone else needs this thread."""
        if not self.alive or conn.is_http2 or self.tpool._work_queue.qsize():
            return False
        poll = select.poll()
        poll.register(conn.sock, select.POLLIN)
        return bool(poll.poll(STAY_S * 1000))


def _patiently(conn: Any, init: Any) -> Any:
    def begin() -> None:
        if not conn.initialized:
            init()
            conn.parser.unreader = PatientUnreader(conn.sock)

    return begin
