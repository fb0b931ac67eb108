"""A sink into this process's memory: for tests and for trying an edge without a warehouse."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from sync.sink import Batch, Marker, Mode, Prepared, Refusal, Row, Verdict
from sync.warehouse.turns import Turns


@dataclass(slots=True)
class MemoryTarget:
    """What outlives a sink: the rows in the order they came, and the identities of the batches."""

    rows: list[Row] = field(default_factory=list)
    applied: set[str] = field(default_factory=set)
    turns: Turns = field(default_factory=Turns)


def take_all(_: Row) -> Refusal | None:
    """Refuses nothing."""
    return None


class MemorySink:
    """Keeps rows as they come. See `sync.sink.Sink`.

    Args:
        target: shared by the sinks of one edge.
        refuse: why a row is not taken, None if it is; always the same for the same row.
    """

    mode: Mode = "token"

    def __init__(self, target: MemoryTarget, refuse: Callable[[Row], Refusal | None] = take_all) -> None:
        self._target = target
        self._refuse = refuse

    def open(self) -> None:
        """Nothing to do."""

    def handshake(self, lineage: str, epoch: int) -> Marker | None:
        """Fence older runners. Raises Fenced."""
        self._target.turns.fence(lineage, epoch)
        return None

    def prepare(self, rows: Sequence[Row], verdict: Verdict | None) -> Prepared:
        """Decide about rows."""
        if verdict is None:
            reasons = {index: self._refuse(row) for index, row in enumerate(rows)}
            verdict = Verdict(refused={index: why for index, why in reasons.items() if why is not None})
        left_out = verdict.skip | verdict.refused.keys()
        return Prepared(verdict, [row for index, row in enumerate(rows) if index not in left_out])

    def write(self, batch: Batch, prepared: Prepared) -> int:
        """Keep the rows of a batch that is not known. Raises Fenced."""
        with self._target.turns.turn("memory", batch.lineage, batch.epoch):
            if batch.token not in self._target.applied:
                self._target.rows.extend(prepared.payload)
                self._target.applied.add(batch.token)
        return len(prepared.payload)

    def close(self) -> None:
        """Nothing to do."""
