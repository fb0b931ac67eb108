"""Answers other processes on behalf of the one that owns an embedded warehouse.

Loopback only. Whoever has the key may read, and may write if he says so. What is not a well-formed request with the
right key ends its own connection and nothing else.
"""

from __future__ import annotations

import hmac
import logging
import socket
import socketserver
from threading import BoundedSemaphore, Thread

import msgspec

from dataflow import frames
from dataflow.errors import DataflowError, ServerAway
from dataflow.warehouse import MAX_ASK_BYTES, Ask, Failure, FailureKind
from sync.warehouse.chdb import ChdbWarehouse, Limits

_log = logging.getLogger(__name__)

MAX_CLIENTS = 32
MAX_TIMEOUT_S = 600.0
SILENCE_S = 30.0
"""A client that sends nothing for so long is let go."""


class WarehouseServer:
    """Serves one warehouse on a port of 127.0.0.1, with threads of its own.

    Args:
        warehouse: open, and kept open until after `close`.
        port: 0 takes a free one.
        key: what clients must present.
        host: a loopback address.
    """

    def __init__(self, warehouse: ChdbWarehouse, port: int, key: str, host: str = "127.0.0.1") -> None:
        self._warehouse = warehouse
        self._wanted = (host, port)
        self._key = key
        self._listener: _Listener | None = None

    @property
    def port(self) -> int:
        """Where it listens. Only between `start` and `close`."""
        if self._listener is None:
            raise RuntimeError("the warehouse server is not running: call start()")
        return int(self._listener.server_address[1])

    def start(self) -> None:
        """Begin to listen; returns at once. Raises ServerAway: the port is taken."""
        try:
            self._listener = _Listener(self._wanted, self._warehouse, self._key)
        except OSError as error:
            host, port = self._wanted
            raise ServerAway(f"the warehouse cannot listen on {host}:{port}: {error}") from error
        Thread(target=self._listener.serve_forever, args=(0.1,), name="warehouse-server", daemon=True).start()

    def close(self) -> None:
        """Stop listening. Questions that run go on until the warehouse closes. Safe to call twice."""
        listener, self._listener = self._listener, None
        if listener is not None:
            listener.shutdown()
            listener.server_close()


class _Listener(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True
    block_on_close = False
    request_queue_size = 64

    def __init__(self, address: tuple[str, int], warehouse: ChdbWarehouse, key: str) -> None:
        self.warehouse = warehouse
        self.key = key.encode()
        self.seats = BoundedSemaphore(MAX_CLIENTS)
        super().__init__(address, _Client)

    def handle_error(self, request: object, client_address: object) -> None:
        """A failure that nobody expected: shown in full, costs one connection."""
        _log.exception("warehouse: a connection failed")


class _Client(socketserver.BaseRequestHandler):
    server: _Listener
    request: socket.socket

    def handle(self) -> None:
        """Answer requests until the client goes or misbehaves."""
        if not self.server.seats.acquire(blocking=False):
            self._drop(Failure("away", f"the warehouse has {MAX_CLIENTS} clients already: ask again"))
            return
        try:
            self._serve()
        finally:
            self.server.seats.release()

    def _serve(self) -> None:
        self.request.settimeout(SILENCE_S)
        try:
            while (payload := frames.receive(self.request, MAX_ASK_BYTES)) is not None:
                frames.send(self.request, self._answer(payload))
        except OSError as error:
            _log.debug("warehouse: connection dropped: %s", error)

    def _drop(self, failure: Failure) -> None:
        try:
            frames.send(self.request, _failed(failure.kind, failure.text))
        except OSError as error:
            _log.debug("warehouse: connection dropped: %s", error)

    def _answer(self, payload: bytes) -> bytes:
        try:
            ask = msgspec.json.decode(payload, type=Ask)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            raise frames.BrokenFrame("not a request") from None
        if not hmac.compare_digest(ask.key.encode(errors="replace"), self.server.key):
            return _failed(
                "key", "the warehouse does not know this key: is another flow on its port? Restart `dataflow up`"
            )
        try:
            return b"+" + self._run(ask)
        except ServerAway as error:
            return _failed("away", str(error))
        except DataflowError as error:
            return _failed("query", str(error))

    def _run(self, ask: Ask) -> bytes:
        if ask.write:
            return self.server.warehouse.execute(ask.sql, ask.params, ask.format)
        limits = Limits(timeout_s=min(max(ask.timeout_s, 0.1), MAX_TIMEOUT_S))
        return self.server.warehouse.ask(ask.sql, ask.params, ask.format, limits)


def _failed(kind: FailureKind, text: str) -> bytes:
    return b"-" + msgspec.json.encode(Failure(kind, text))
