"""The connections of one client of Redis: redis-py's, lent and used at a fraction of the cost.

What redis-py does for each loan (its records, a look at the socket) and Python for each time-out (see dataflow.sockets)
is a fifth of what a small command costs its caller.
"""

from __future__ import annotations

import os
from typing import Any, Final

import redis
from redis.connection import Connection, ConnectionPool, UnixDomainSocketConnection

from dataflow.sockets import KernelTimedSocket


class _Link(Connection):
    def _connect(self) -> KernelTimedSocket:
        return KernelTimedSocket.of(super()._connect())  # type: ignore[no-untyped-call]


class _UnixLink(UnixDomainSocketConnection):
    def _connect(self) -> KernelTimedSocket:
        return KernelTimedSocket.of(super()._connect())  # type: ignore[no-untyped-call]


_OURS: Final[dict[type, type]] = {Connection: _Link, UnixDomainSocketConnection: _UnixLink}
"""Connections with TLS stay as they are: there more than the socket has a time-out."""


class Pool(ConnectionPool):
    """Lends the connection that came back last. Thread-safe.

    `lend` and `keep` are for whoever reads each answer whole; a connection that is kept stays lent as redis-py sees it.
    What the server has closed, and what is not one of our sockets, goes through redis-py, which looks closer and
    connects anew. redis-py's own `get_connection` and `release` are as ever.

    Attributes:
        connects: how many connections were made so far, those made anew included.
    """

    def __init__(self, connection_class: type = Connection, **options: Any) -> None:
        self._warm: list[Any] = []
        self.connects = 0
        super().__init__(_OURS.get(connection_class, connection_class), **options)

    def lend(self) -> Any:
        """A connection for one command, then to be given to `keep` or `discard`. Raises what connecting raises."""
        link = self._warm_link() if os.getpid() == self.pid else None
        if link is None:
            return self.get_connection()
        if isinstance(link._sock, KernelTimedSocket) and link._sock.is_open():
            return link
        self.release(link)
        return self.get_connection()

    def keep(self, link: Any) -> None:
        """Take a connection back on which nothing is outstanding: the answer to its command was read whole."""
        if link.pid == os.getpid() == self.pid:
            self._warm.append(link)
        else:
            self.release(link)

    def discard(self, link: Any) -> None:
        """Take a connection back that may still bring an answer: it is closed."""
        try:
            link.disconnect()
        finally:
            self.release(link)

    def make_connection(self) -> Any:
        """A connection that is counted whenever it is made."""
        link: Any = super().make_connection()
        link.register_connect_callback(self._count)
        return link

    def reset(self) -> None:
        """Forget all connections: they are those of another process."""
        self._warm = []
        super().reset()

    def _count(self, _link: Any) -> None:
        self.connects += 1

    def _warm_link(self) -> Any:
        try:
            return self._warm.pop()
        except IndexError:
            return None


def client_of(url: str, **options: Any) -> redis.Redis:
    """A client with such connections; see `redis.Redis.from_url`. Does not connect yet.

    Raises TypeError, ValueError: the address or an option cannot be used.
    """
    pool = Pool.from_url(url, **options)
    pool.connection_class(**pool.connection_kwargs)  # options are only looked at when a connection is made
    return redis.Redis.from_pool(pool)
