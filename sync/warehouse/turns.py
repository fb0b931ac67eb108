"""Who may write now. All writers of an embedded warehouse live in one process, so its memory is a complete record."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock

from dataflow.errors import Fenced


class Turns:
    """Gives one writer at a time its turn at a table, and none to a runner that has been overtaken. Thread-safe."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._tables: defaultdict[str, Lock] = defaultdict(Lock)
        self._epochs: dict[str, int] = {}

    def fence(self, lineage: str, epoch: int) -> None:
        """Shut out every runner of this lineage with a lower epoch, from now on. Raises Fenced: this one is lower."""
        with self._lock:
            highest = self._epochs.get(lineage, epoch)
            if epoch < highest:
                raise Fenced(
                    f"lineage {lineage}: runner {epoch} has been overtaken by {highest}; nothing was written", highest
                )
            self._epochs[lineage] = epoch

    @contextmanager
    def turn(self, table: str, lineage: str, epoch: int) -> Iterator[None]:
        """Wait until nobody else writes to the table; then be the only one. Raises Fenced as `fence`."""
        with self._lock:
            mine = self._tables[table]
        with mine:
            self.fence(lineage, epoch)
            yield
