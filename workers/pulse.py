"""Memory that a worker's parent shares with its children: what each is doing, and since when.

A child writes, the parent reads; a write is a few bytes and needs no lock, because the parent acts only on a call that
has lasted for seconds.
"""

from __future__ import annotations

import mmap
import struct
import time

_CALL = struct.Struct("=d")
_MARK_BYTES = 64


class Pulse:
    """The pulse of one child: per thread the start of the call it is in, and the entry that runs alone."""

    def __init__(self, threads: int) -> None:
        self._threads = threads
        self._memory = mmap.mmap(-1, threads * _CALL.size + _MARK_BYTES)

    def begin(self, thread: int) -> None:
        """A call of the user's handler begins in this thread."""
        _CALL.pack_into(self._memory, thread * _CALL.size, time.monotonic())

    def end(self, thread: int) -> None:
        """It has returned."""
        _CALL.pack_into(self._memory, thread * _CALL.size, 0.0)

    def oldest_call_s(self) -> float:
        """For how long the longest running call has lasted, in seconds; 0 when none runs."""
        starts = [_CALL.unpack_from(self._memory, i * _CALL.size)[0] for i in range(self._threads)]
        running = [start for start in starts if start > 0]
        return time.monotonic() - min(running) if running else 0.0

    def mark_alone(self, mark: bytes) -> None:
        """Name the entry whose attempt was counted before it ran; empty: none."""
        start = self._threads * _CALL.size
        self._memory[start : start + _MARK_BYTES] = mark[:_MARK_BYTES].ljust(_MARK_BYTES, b"\0")

    def alone(self) -> bytes:
        """The entry that was named last."""
        start = self._threads * _CALL.size
        return bytes(self._memory[start : start + _MARK_BYTES]).rstrip(b"\0")

    def reset(self) -> None:
        """Forget everything, for the next child."""
        for thread in range(self._threads):
            self.end(thread)
        self.mark_alone(b"")
