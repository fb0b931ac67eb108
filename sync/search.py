"""The search for rows that a target refuses without saying which: the batch is cut in halves until one row is left.

What may be sent is written down at the source before it is; here is only how much to take next. Pure.
"""

from __future__ import annotations

MOST_PIECES = 64
"""So often a refused batch is cut in one search; then a person must look."""
IN_VAIN = 3
"""So many rows refused one after another, and none taken, are no bad rows but a changed table."""


class Search:
    """How far a runner is. Losing it costs time only: the next search begins with a larger piece."""

    def __init__(self) -> None:
        self._rest = 0
        self._active = False
        self._pieces = self._buried = self._taken = 0

    def most(self, usual: int) -> int:
        """How many entries to read next: half of those behind the last piece, one of which is refused for sure."""
        return max(1, self._rest // 2) if self._rest else usual

    def begin(self, count: int) -> None:
        """A batch of so many entries was frozen that has not been refused so far."""
        self._rest = max(0, self._rest - count)

    def cut(self, rest: int) -> None:
        """A batch was refused; a part of it will be sent, and so many of its entries come after that."""
        self._rest, self._active = rest, True
        self._pieces += 1

    def settle(self, taken: int, buried: int) -> None:
        """A batch was settled: so many of its rows were taken, so many buried."""
        if not self._active:
            self._pieces = self._buried = self._taken = 0
            return
        self._active = self._rest > 0
        self._taken += taken
        self._buried += buried

    @property
    def hopeless(self) -> bool:
        """Whether it cannot be a few rows that are bad."""
        return self._pieces > MOST_PIECES or (self._buried >= IN_VAIN and not self._taken)
