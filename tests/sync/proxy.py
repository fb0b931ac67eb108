"""A TCP proxy in front of a Redis that swallows the reply to one script and breaks the connection."""

from __future__ import annotations

import selectors
import socket
import threading
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit

from dataflow.store.script import WIDEST, script


class Proxy:
    """As a context manager. `url` is its own address; `swallow` arms it once."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self._server = (parts.hostname or "", parts.port or 0)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._armed: list[bytes] = []
        self.swallowed = 0

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self._listener.getsockname()[1]}/0"

    def swallow(self, name: str) -> None:
        """The next time this script runs, its reply is lost, whatever width of messages it is made for."""
        self._armed = [script(name, width).sha.encode() for width in range(WIDEST + 1)]

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
        with client, socket.create_connection(self._server) as server, selectors.DefaultSelector() as ready:
            ready.register(client, selectors.EVENT_READ, server)
            ready.register(server, selectors.EVENT_READ, client)
            swallowing = False
            while True:
                for key, _ in ready.select():
                    data = key.fileobj.recv(65536)  # type: ignore[union-attr]
                    if not data or (swallowing and key.fileobj is server):
                        self.swallowed += bool(data)
                        return
                    if key.fileobj is client and any(sha in data for sha in self._armed):
                        self._armed, swallowing = [], True
                    key.data.sendall(data)
