"""Sends HTTP requests over a few kept connections, all at once or at a steady rate. One thread, little parsing."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator, Sequence

CONNECTIONS = 8
RENEWED_AFTER_S = 0.25
"""The age at which a connection is replaced: else chance, which lets one of two processes accept most of them, decides
about a whole round."""


def request(path: str, body: bytes) -> bytes:
    """A POST of JSON."""
    head = (
        f"POST {path} HTTP/1.1\r\nHost: [::1]\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


def send_all(port: int, requests: Sequence[bytes]) -> float:
    """Send every request, each connection one after the other. Returns the seconds until the last answer.

    Raises RuntimeError at the first answer that is no 2xx.
    """
    return asyncio.run(_send_all(port, iter(requests)))


def send_paced(port: int, requests: Sequence[bytes], per_second: float) -> list[float]:
    """Send requests at a steady rate, whatever the answers take. Returns when each was due (time.perf_counter)."""
    return asyncio.run(_send_paced(port, requests, per_second))


class _Connection(asyncio.Protocol):
    """Sends one request at a time."""

    def __init__(self) -> None:
        self._buffer = b""
        self._answered: asyncio.Future[None] | None = None
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        head, found, rest = self._buffer.partition(b"\r\n\r\n")
        if not found or self._answered is None:
            return
        length = int(head.lower().partition(b"content-length:")[2].split(b"\r\n", 1)[0])
        if len(rest) < length:
            return
        self._buffer = b""
        if head[9:10] == b"2":
            self._answered.set_result(None)
        else:
            self._answered.set_exception(RuntimeError(f"{head.decode()}\n{rest.decode(errors='replace')}"))

    def connection_lost(self, error: Exception | None) -> None:
        if self._answered is not None and not self._answered.done():
            self._answered.set_exception(RuntimeError(f"the server hung up: {error}"))

    async def ask(self, request: bytes) -> None:
        """Send a request and wait for its answer."""
        assert self._transport is not None
        self._answered = asyncio.get_running_loop().create_future()
        self._transport.write(request)
        await self._answered
        self._answered = None

    def close(self) -> None:
        """Hang up."""
        if self._transport is not None:
            self._transport.close()


async def _connect(port: int) -> _Connection:
    _, connection = await asyncio.get_running_loop().create_connection(_Connection, "127.0.0.1", port)
    return connection


async def _send_all(port: int, requests: Iterator[bytes]) -> float:
    async def work(connection: _Connection) -> None:
        until = time.perf_counter() + RENEWED_AFTER_S
        for one in requests:
            if time.perf_counter() > until:
                connection.close()
                connection = await _connect(port)
                until += RENEWED_AFTER_S
            await connection.ask(one)
        connection.close()

    connections = [await _connect(port) for _ in range(CONNECTIONS)]
    begun = time.perf_counter()
    await asyncio.gather(*map(work, connections))
    return time.perf_counter() - begun


async def _send_paced(port: int, requests: Sequence[bytes], per_second: float) -> list[float]:
    free: asyncio.Queue[_Connection] = asyncio.Queue()
    connections = [await _connect(port) for _ in range(CONNECTIONS)]
    for connection in connections:
        free.put_nowait(connection)

    async def ask(one: bytes) -> None:
        connection = await free.get()
        await connection.ask(one)
        free.put_nowait(connection)

    begun = time.perf_counter()
    due = [begun + i / per_second for i in range(len(requests))]
    asked = []
    for at, one in zip(due, requests, strict=True):
        await asyncio.sleep(at - time.perf_counter())
        asked.append(asyncio.create_task(ask(one)))
    await asyncio.gather(*asked)
    for connection in connections:
        connection.close()
    return due
