"""The end of an edge that gives messages: what the runner needs of it, and the one kind there is: a stream.

A source writes a batch down before anything of it is sent (`freeze`) and moves on when the target has it (`settle`).
Another kind of source is another class with these methods.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, Protocol

from dataflow.flow.spec import Edge, Flow
from dataflow.message import MID
from dataflow.store.alarms import raise_alarm
from dataflow.store.declare import declare
from dataflow.store.keys import Keys
from dataflow.store.lane import CONFIRM_MS, Confirmed, Frozen, Lane, Lease, Refused, Waiting
from dataflow.store.leads import lead_of
from dataflow.store.redis import Client
from dataflow.store.resume import PAUSED
from sync.pauses import note_pause
from sync.rows import as_row
from sync.sink import Row

LaneName = Literal["main", "retry"]
LANES: tuple[LaneName, LaneName] = ("main", "retry")

Rows = tuple[list[bytes], list[Row]]
"""Ids and rows of entries, oldest first. Every row has a `_mid`; see `sync.rows`."""


class Source(Protocol):
    """Gives frozen batches. Blocking; used by one thread at a time, but for `extend` and `read`.

    All calls raise ServerAway, OutcomeUnknown (they may be repeated), ServerFull and NotDeclared.
    """

    @property
    def name(self) -> str:
        """main, or retry for the lane of messages that come back."""

    def acquire(
        self, nonce: str, lease_ms: int, fresh_lineage: str, least_epoch: int = 0, dead_holder: str = ""
    ) -> Lease:
        """Take or keep the lease. Raises LeaseHeld."""

    def extend(self, lease: Lease, lease_ms: int) -> bool:
        """Renew the lease if it is still ours. Called from a thread of its own."""

    def release(self, lease: Lease) -> None:
        """Let go of the lease."""

    def read(self, position: bytes, count: int) -> Rows:
        """Up to `count` entries after a position. Called from a thread of its own while a batch is written."""

    def read_to(self, position: bytes, last: bytes) -> Rows:
        """All entries after a position up to and with `last`."""

    def reread(self, batch: Frozen) -> Rows:
        """The entries of a frozen batch that are still there."""

    def freeze(
        self, lease: Lease, lease_ms: int, position: bytes, batch: Frozen, *, replaces: Frozen | None = None
    ) -> Frozen:
        """Write a batch down. Raises Fenced."""

    def settle(
        self,
        lease: Lease,
        lease_ms: int,
        batch: Frozen,
        written: int,
        refused: Sequence[Refused],
        *,
        keep: bool = False,
        buried: int = 0,
    ) -> int:
        """The target has the batch: move on. Raises Fenced, StreamFull (the dead letters are full)."""

    def confirm(
        self, lease: Lease, run_id: str, seq: int, digest: str, asked_ms: int, wait_ms: int = CONFIRM_MS
    ) -> Confirmed:
        """Take the target's word for what it has. Raises Fenced."""

    def waiting(self, count: int) -> Waiting:
        """What there is to do, without the lease."""

    def hold(self, reason: str) -> None:
        """Pause until a person resumes, raise an alarm that says why, and note it in the history."""

    def mend(self) -> bool:
        """Make lost state again from what the source remembers. Returns whether anything was mended."""


class StreamSource(Lane):
    """One lane of an edge on its source stream, with the flow that declares it.

    Args:
        redis: the server of the source stream.
        home: the server with the history of the flow; None: the same.
    """

    def __init__(
        self, flow: Flow, edge: Edge, redis: Client, lane: LaneName = "main", home: Client | None = None
    ) -> None:
        at = lead_of(flow, edge.name).at
        super().__init__(redis, Keys(flow.name), edge.source, edge.name, at=at, retry=lane == "retry")
        self._flow = flow
        self._home = home or redis

    def hold(self, reason: str) -> None:
        """Pause until a person resumes, raise an alarm that says why, and note it in the history."""
        raise_alarm(self._redis, Keys(self._flow.name), PAUSED, self._edge, reason)
        self.pause(reason)
        note_pause(self._home, self._flow, self._edge, reason)

    def mend(self) -> bool:
        """Make a lost consumer group again where it stood. Raises an alarm when it does."""
        return bool(declare(self._flow, self._redis, self._stream, create=False))

    def _range(self, first: bytes, last: bytes, count: int | None) -> Rows:
        """Entries of ours begin with their `_mid` and are taken as they are, but for those that came back."""
        ids, found = super()._range(first, last, count)
        came_back = self.name == "retry"
        pairs = zip(ids, found, strict=True)
        return ids, [
            row if row[0] == MID and row[1] and not came_back else as_row(self._stream, id_, row) for id_, row in pairs
        ]
