"""Up to where a collection may be read: a value that is written late must not be passed over.

Who writes takes a value of the ordering field first and commits later, so a lower value can appear after a higher one.
What was the last document at some moment is therefore read up to only `settle_s` later. Both moments are of this
process's own clock: no two clocks are compared.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from typing import Final

from dataflow.outbox import Position

STEPS: Final = 16
"""So many moments are remembered at most within `settle_s`."""


class Horizon:
    """What was last seen as the end of a collection, and when.

    Args:
        settle_s: seconds after which nothing lower appears.
        clock: seconds, monotonic.
    """

    def __init__(self, settle_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._settle_s = settle_s
        self._clock = clock
        self._seen: deque[tuple[float, Position]] = deque()
        self.settled: Position | None = None

    def see(self, last: Position | None) -> None:
        """Note what is the last document now; None for an empty collection. `settled` follows."""
        now = self._clock()
        if last is not None and self._is_news(last, now):
            self._seen.append((now, last))
        while self._seen and now - self._seen[0][0] >= self._settle_s:
            self.settled = self._seen.popleft()[1]

    @property
    def left_s(self) -> float:
        """Seconds until `settled` can move; 0 if nothing is on the way."""
        return max(0.0, self._seen[0][0] + self._settle_s - self._clock()) if self._seen else 0.0

    def _is_news(self, last: Position, now: float) -> bool:
        if not self._seen:
            return last != self.settled
        return last != self._seen[-1][1] and now - self._seen[-1][0] >= self._settle_s / STEPS
