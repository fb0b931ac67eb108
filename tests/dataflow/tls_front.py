"""TLS before a server that speaks none: ends it, and passes on what is inside."""

from __future__ import annotations

import socket
import ssl
import threading
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Final, Self

HOST: Final = "127.0.0.1"


class TlsFront:
    """Listens with a certificate on a free loopback port, as a context manager.

    Args:
        pair: certificate and key.
        port: of the server behind it, on loopback.
    """

    def __init__(self, pair: tuple[Path, Path], port: int) -> None:
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.load_cert_chain(*pair)
        self._behind = port
        self._listening = socket.create_server((HOST, 0))
        self._open: list[socket.socket] = []
        self.port = int(self._listening.getsockname()[1])
        self.let_through = 0

    def __enter__(self) -> Self:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for one in (self._listening, *self._open):
            _shut(one)

    def _accept(self) -> None:
        while True:
            try:
                plain, _ = self._listening.accept()
            except OSError:  # closed: the test is over
                return
            threading.Thread(target=self._serve, args=(plain,), daemon=True).start()

    def _serve(self, plain: socket.socket) -> None:
        self._open.append(plain)
        try:
            secure = self._context.wrap_socket(plain, server_side=True)
        except OSError:  # the client does not trust us, or speaks no TLS
            _shut(plain)
            return
        behind = socket.create_connection((HOST, self._behind))
        self._open += [secure, behind]
        self.let_through += 1
        threading.Thread(target=_pump, args=(behind, secure), daemon=True).start()
        _pump(secure, behind)


def _pump(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError):  # one side has gone, so the other goes too
        while data := source.recv(1 << 16):
            target.sendall(data)
    _shut(source)
    _shut(target)


def _shut(one: socket.socket) -> None:
    with suppress(OSError):  # it was not connected any more
        one.shutdown(socket.SHUT_RDWR)
    one.close()
