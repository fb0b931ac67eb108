"""How many entries a process asks for. Pure."""

from __future__ import annotations

WORTH_S = 1.0
QUICK_S = 0.1


class Appetite:
    """What a process can eat in about a second, by what it ate lately.

    A process that takes hundreds of entries for a handler that needs a second for each keeps them from its idle
    siblings, and makes suspects of them all if it dies.

    Args:
        most: the largest count, the worker's `batch`.
        least: the smallest, so that every thread has something to do.
        fixed: always ask for `most`: batch handlers want full batches.

    Attributes:
        count: how many entries to ask for.
        quick: whether so many are handled so fast that more may be asked for before they are.
    """

    def __init__(self, most: int, least: int = 1, *, fixed: bool = False) -> None:
        self._most, self._least, self._fixed = most, min(least, most), fixed
        self.count = most if fixed else self._least
        self.quick = False

    def ate(self, messages: int, took_s: float) -> None:
        """So many messages were handled in that time."""
        if not messages:
            return
        if not self._fixed:
            in_time = int(WORTH_S * messages / max(took_s, 1e-6))
            self.count = max(self._least, min(self._most, in_time, self.count * 2))
        self.quick = self.count * took_s < QUICK_S * messages
