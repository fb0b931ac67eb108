"""A gunicorn worker that waits a moment for the next request, and not for ever for the rest of one.

gunicorn's threads read a request and send its answer with no limit of time, and wait five seconds for the first byte of
a new connection: as many clients as there are threads, each gone in the middle, would stop a service for good. Here a
thread takes a connection when a request has come on it. A client that sends or takes nothing for `IDLE_S`, is slower
than `LEAST_RATE`, or needs more than `REQUEST_S` for one request, is taken for one that has hung up. A request that
broke off is refused by its view, and nothing of it is stored; what comes of it later is not read.

gunicorn hands a connection that is kept back to its main thread after each request, to be given to a thread when the
next one comes: some wake-ups of threads for each, which cost as much as a view. Clients that send much send the next
request as soon as they have the answer, so a thread that nobody else waits for stays with its connection for `STAY_S`.
And it sends the head of an answer and its body apart: two packets, for which most clients wake up twice.
"""

from __future__ import annotations

import errno
import math
import select
import socket
import time
from typing import Any, Final

from gunicorn.http.unreader import Unreader
from gunicorn.workers.gthread import _DEFER, ThreadWorker

from dataflow.sockets import KernelTimedSocket

IDLE_S: Final = 10.0
"""How long a request, or its answer, may stand still on its way."""
LEAST_RATE: Final = 1024
"""So many bytes a second either has to come on by, after `IDLE_S` to begin with."""
REQUEST_S: Final = 120.0
"""How long it may be on its way, head and body."""
LEAST_CHUNK: Final = 8 * 1024
MOST_CHUNK: Final = 1024 * 1024
"""Bytes to read at a time: the head of a request, or as much of its body as is still to come."""
DRAIN_S: Final = 5.0
"""How long a body that its view has not read may take to come, after the answer."""
STAY_S: Final = 0.002
"""How long a thread waits for the next request of its connection."""


class Progress:
    """How long something on its way through a connection may go on, by how much of it has come so far."""

    def __init__(self) -> None:
        self._begun = time.monotonic()
        self._end = self._begun + REQUEST_S
        self._bytes = 0

    def add(self, count: int) -> None:
        """So many more bytes have come."""
        self._bytes += count

    def end_in(self, seconds: float) -> None:
        """It may take so much longer at most."""
        self._end = min(self._end, time.monotonic() + seconds)

    def left_s(self) -> float:
        """Seconds; 0 or less when the other side counts as gone."""
        return min(self._end, self._begun + IDLE_S + self._bytes / LEAST_RATE) - time.monotonic()


class PatientSocket(KernelTimedSocket):
    """A connection that waits for `IDLE_S` at a time, at most, where gunicorn would wait for ever."""

    def settimeout(self, value: float | None) -> None:
        """So many seconds, `IDLE_S` at most."""
        super().settimeout(IDLE_S if value is None or value > IDLE_S else value)


class PatientUnreader(Unreader):  # type: ignore[misc]  # gunicorn has no types
    """Reads a connection; where the client takes too long it tells what it would if the client had hung up.

    It shows gunicorn no socket, whose time-out that would change for what is left of each request's body.
    """

    gone = False
    """Whether nothing more is read from this connection: else what comes late of one request would be taken for the
    next one."""

    def __init__(self, sock: socket.socket) -> None:
        super().__init__()
        self._sock = sock
        self._progress = Progress()

    def begin(self) -> None:
        """A request begins."""
        self._progress = Progress()

    def finish(self) -> None:
        """A request was answered: what is left of it is of no use."""
        self._progress.end_in(DRAIN_S)

    def chunk(self, size_hint: int | None = None) -> bytes:
        """The next bytes; none at the end."""
        left_s = self._progress.left_s()
        if self.gone or left_s <= 0:
            self.gone = True
            return b""
        self._sock.settimeout(math.ceil(left_s))
        try:
            data = self._sock.recv(min(max(size_hint or 0, LEAST_CHUNK), MOST_CHUNK))
        except TimeoutError:
            data = b""
        self.gone = not data
        self._progress.add(len(data))
        return data


class WholeAnswers:
    """A connection during one request: what is sent first, the head of the answer, goes out with what follows.

    Raises ConnectionResetError where the client does not take it.
    """

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
            self._send(self._head + data)
            self._head = b""

    def flush(self) -> None:
        """Send what is kept: an answer has no body."""
        if self._head:
            self._send(self._head)
            self._head = b""

    def _send(self, data: bytes) -> None:
        self._sock.settimeout(None)  # and not what was left to the request
        progress, rest = Progress(), memoryview(data)
        while rest:
            try:
                count = self._sock.send(rest) if progress.left_s() > 0 else 0
            except TimeoutError:
                count = 0
            if not count:
                raise ConnectionResetError(errno.ECONNRESET, "the client does not take its answer")
            rest = rest[count:]
            progress.add(count)


class PatientWorker(ThreadWorker):  # type: ignore[misc]  # gunicorn has no types
    """gunicorn's worker with threads, whose connections are read by a PatientUnreader."""

    def handle(self, conn: Any) -> Any:
        """Called in a thread: answer the next request of a connection, and those that follow at once.

        Returns whether the connection is kept, or what else gunicorn makes of it.
        """
        if conn.initialized:
            conn.parser.unreader.begin()
        elif not conn.data_ready and not conn.wait_for_data(STAY_S):
            return _DEFER  # to the main thread, which watches it until a request comes
        else:
            conn.init = _patiently(conn, conn.init)
        kept = self._answer(conn)
        while kept is True and self._goes_on(conn):
            conn.parser.unreader.begin()
            kept = self._answer(conn)
        return kept

    def _answer(self, conn: Any) -> Any:
        kept = super().handle(conn)
        return False if kept is True and conn.parser.unreader.gone else kept

    def _keepalive_after(self, conn: Any, keepalive: Any) -> bool:
        """Called by gunicorn after each answer: whether the next request begins where this one ends."""
        conn.parser.unreader.finish()
        return bool(super()._keepalive_after(conn, keepalive))

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
            conn.sock = PatientSocket.of(conn.sock)
            init()
            conn.parser.unreader = PatientUnreader(conn.sock)

    return begin
