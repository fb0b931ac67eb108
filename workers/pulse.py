"""Memory that a worker's parent shares with its children: what each is doing, since when, and whether it shall stop.

Every write is one aligned machine word (or the mark, which is only read once the child is dead), so no lock is needed
that a dying child could hold for ever. Children are not told to stop by a signal: a handler of ours for it would pass
to whatever processes the user's code forks, and be in the way there.
"""

from __future__ import annotations

import mmap
import struct
import time
from enum import IntEnum

_CALL = struct.Struct("d")  # native: one store of eight bytes, never half of one
_WORD = struct.Struct("q")
_MARK_BYTES = 64


class Stage(IntEnum):
    """How far a child has come."""

    SETUP = 0
    """The handler is being loaded; the child holds no entries."""
    READY = 1
    """It reads; it may hold entries."""
    PROVEN = 2
    """It has settled entries, and has taken over what its predecessors held."""


class Pulse:
    """The pulse of one child: its stage, per thread the start of the call it is in, and the entry that runs alone.

    Args:
        threads: how many calls of the handler may run at once, numbered from 0.
    """

    def __init__(self, threads: int) -> None:
        self._threads = threads
        self._stage_at = threads * _CALL.size
        self._stop_at = self._stage_at + _WORD.size
        self._mark_at = self._stop_at + _WORD.size
        self._memory = mmap.mmap(-1, self._mark_at + _MARK_BYTES)

    @property
    def stage(self) -> Stage:
        """The child's stage."""
        return Stage(_WORD.unpack_from(self._memory, self._stage_at)[0])

    def reach(self, stage: Stage) -> None:
        """The child has come so far."""
        _WORD.pack_into(self._memory, self._stage_at, stage)

    def ask_to_stop(self) -> None:
        """The parent wants the child to finish the message in hand and end."""
        _WORD.pack_into(self._memory, self._stop_at, 1)

    def stop_asked(self) -> bool:
        """Whether the child shall stop."""
        return self._memory[self._stop_at] != 0

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
        """Name the entry whose attempt was counted before it ran; empty: none. At most 64 bytes are kept."""
        self._memory[self._mark_at : self._mark_at + _MARK_BYTES] = mark[:_MARK_BYTES].ljust(_MARK_BYTES, b"\0")

    def alone(self) -> bytes:
        """The entry that was named last."""
        return self._memory[self._mark_at : self._mark_at + _MARK_BYTES].rstrip(b"\0")

    def close(self) -> None:
        """Give the memory back. Nothing may be called afterwards."""
        self._memory.close()
