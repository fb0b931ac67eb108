"""Frames on a stream socket: four bytes of length (big-endian), then that many bytes."""

from __future__ import annotations

import socket

_HEAD_BYTES = 4
_CHUNK_BYTES = 1 << 18


class BrokenFrame(ConnectionError):
    """What came is no frame, is longer than allowed, or ended in its middle. The connection is of no more use."""


def send(connection: socket.socket, payload: bytes) -> None:
    """Send one frame; blocks. Raises OSError."""
    connection.sendall(len(payload).to_bytes(_HEAD_BYTES, "big"))
    connection.sendall(payload)


def receive(connection: socket.socket, max_bytes: int) -> bytes | None:
    """Take one frame; blocks. None when the other side has closed the connection between two frames.

    Raises:
        BrokenFrame: longer than `max_bytes`, or cut short.
        OSError: also TimeoutError after the socket's own time-out.
    """
    head = _take(connection, _HEAD_BYTES)
    if not head:
        return None
    if len(head) < _HEAD_BYTES:
        raise BrokenFrame("the connection ended inside a frame")
    size = int.from_bytes(head, "big")
    if size > max_bytes:
        raise BrokenFrame(f"a frame of {size} bytes; at most {max_bytes} are taken")
    payload = _take(connection, size)
    if len(payload) < size:
        raise BrokenFrame("the connection ended inside a frame")
    return payload


def _take(connection: socket.socket, size: int) -> bytes:
    """`size` bytes, fewer only where the other side has closed."""
    parts: list[bytes] = []
    while size > 0:
        part = connection.recv(min(size, _CHUNK_BYTES))
        if not part:
            break
        parts.append(part)
        size -= len(part)
    return b"".join(parts)
