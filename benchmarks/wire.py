"""A bare connection to Redis: bytes out, parsed replies in. What minimal code would use; no retries, no pool."""

from __future__ import annotations

import socket
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit

import hiredis

pack: Callable[[tuple[Any, ...]], bytes] = hiredis.pack_command
"""A command as bytes."""


class Wire:
    """One connection, as a context manager. Every call blocks; replies are bytes, ints and lists."""

    def __init__(self, url: str) -> None:
        address = urlsplit(url)
        self._socket = socket.create_connection((address.hostname, address.port))
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._reader = hiredis.Reader()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._socket.close()

    def send(self, packed: bytes) -> None:
        """Send packed commands."""
        self._socket.sendall(packed)

    def receive(self, n: int = 1) -> list[Any]:
        """The next n replies. Raises the server's error if one is."""
        replies: list[Any] = []
        while len(replies) < n:
            reply = self._reader.gets()
            if reply is False:
                self._reader.feed(self._socket.recv(1 << 18))
            elif isinstance(reply, Exception):
                raise reply
            else:
                replies.append(reply)
        return replies

    def call(self, *command: Any) -> Any:
        """Send one command and return its reply."""
        self.send(pack(command))
        return self.receive()[0]
