"""The end of an edge that takes messages. One file per kind in `sync/sinks/`, listed in `sync/kinds.py`.

The runner (`sync/runner.py`) calls a sink in this order, from one thread:

    open                      once; connects, creates what the flow asks for, learns the target's shape
    handshake                 after each take-over of the edge's lease; fences older runners at the target
    prepare(rows, None)       decides: what is good, what is refused and why. Sends nothing
    (the runner freezes the batch with that verdict at the source)
    write(batch, prepared)    sends; returns only when the target has acknowledged
    prepare(rows, verdict)    after a restart: the same rows with the verdict that was frozen
    write(batch, prepared)    again: must have no further effect if it was applied before
    close                     once

Every sink passes the contract suite in `tests/sync/sink_contract.py`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

import msgspec

from dataflow.store.lane import ANY

Mode = Literal["token", "readback", "upsert", "marker", "position", "none"]
"""How a batch that was applied before is recognised. `none` means at-least-once.

`position` is of edges that read no stream: it moves in the step that applies the batch, which never comes twice.
"""

Row = list[bytes]
"""One message as it stands in the stream: name, value, name, value, ... with `_mid`, and `_path` and `_null` if any.

Entries of other programs, which have no `_mid`, have got one: `<stream>/<entry id>`.
"""


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why one row cannot go to the target: goes to the dead letters with the message.

    foreseen: the flow file says that such rows go there (a route without `other`), so it is no sign of a changed
    schema. Not frozen with the batch: what is frozen was judged before.
    """

    field: str
    type: str
    reason: str
    foreseen: bool = dataclasses.field(default=False, compare=False)


@dataclass(frozen=True, slots=True)
class Verdict:
    """Everything that decides a batch's content beside its rows; frozen with the batch, stored as JSON.

    refused: row index -> why. skip: indexes already applied under an earlier identity (after a conflict).
    extra: what the sink itself needs to repeat the batch identically (column names and types, route per row ...);
    JSON-able, small (it is stored in Redis with the batch).
    """

    refused: Mapping[int, Refusal] = field(default_factory=dict)
    skip: frozenset[int] = frozenset()
    extra: Mapping[str, Any] = field(default_factory=dict)

    def to_json(self) -> str:
        """The verdict as text. The same verdict always gives the same text, so it may go into a digest."""
        body = {
            "refused": [[index, why.field, why.type, why.reason] for index, why in sorted(self.refused.items())],
            "skip": list(_runs(sorted(self.skip))),
            "extra": self.extra,
        }
        return msgspec.json.encode(body, order="sorted").decode()

    @classmethod
    def from_json(cls, text: str) -> Verdict:
        """The verdict that `to_json` wrote. `extra` comes back as JSON has it: lists for tuples, text for keys."""
        body = msgspec.json.decode(text)
        refused = {index: Refusal(*why) for index, *why in body["refused"]}
        skip = frozenset(index for first, last in body["skip"] for index in range(first, last + 1))
        return cls(refused, skip, body["extra"])


@dataclass(frozen=True, slots=True)
class Prepared:
    """A verdict and what the sink made of the rows by it. `payload` belongs to the sink."""

    verdict: Verdict
    payload: Any


@dataclass(frozen=True, slots=True)
class Batch:
    """A frozen batch. (lineage, seq, digest) is its identity and never changes; epoch and nonce only fence.

    resent: it was frozen by an earlier run, and perhaps sent. in_doubt: the source's server was started anew, and may
    have forgotten that it sent entries of this batch, under another identity. A target that remembers batches finds
    that out by itself. prev: digest of the batch that must be the last at the target.
    """

    lineage: str
    seq: int
    digest: str
    epoch: int
    nonce: str
    ids: Sequence[bytes]
    rows: Sequence[Row]
    frozen_ms: int
    resent: bool
    in_doubt: bool = False
    prev: str = ANY

    @property
    def token(self) -> str:
        """The identity as one string."""
        return f"{self.lineage}-{self.seq}-{self.digest}"


@dataclass(frozen=True, slots=True)
class Marker:
    """What the target remembers of a lineage: the last batch it applied, and the epoch that it had seen.

    run_id names the process that answered, where it is another server than the source's, which may lose what it has
    just been told; "" where what it has is as safe as the source.
    """

    seq: int
    epoch: int
    digest: str = ""
    run_id: str = ""


class Sink(Protocol):
    """Takes frozen batches. Blocking; used by one thread at a time."""

    @property
    def mode(self) -> Mode:
        """How duplicates are recognised. Known after `open`."""

    def open(self) -> None:
        """Connect and learn the target's shape. Raises ServerAway, TargetRefused (table missing ...)."""

    def handshake(self, lineage: str, epoch: int) -> Marker | None:
        """Fence runners with a lower epoch and tell what was applied; None where the target keeps no marker.

        Raises Fenced when the target has seen a higher epoch, ServerAway.
        """

    def prepare(self, rows: Sequence[Row], verdict: Verdict | None) -> Prepared:
        """Decide about rows, or repeat a decision. Touches nothing but the sink's own cached description.

        With a verdict given, the result's verdict equals it and the payload is the same as when it was made. Without
        one it is called from another thread, while the batch before is written.
        """

    def write(self, batch: Batch, prepared: Prepared) -> int:
        """Apply the batch and return how many rows it holds at the target; blocks until acknowledged.

        Writing the same batch again has no effect (but for mode `none`). All or nothing per batch.
        Raises ServerAway (nothing written), OutcomeUnknown, StreamFull, Fenced, BatchConflict, TargetBehind,
        TargetRefused.
        """

    def close(self) -> None:
        """Let go of the connection. Safe to call twice."""


def _runs(indexes: Iterable[int]) -> Iterator[tuple[int, int]]:
    """Ascending indexes as (first, last) of each run without a gap."""
    first = last = None
    for index in indexes:
        if first is None or last is None:
            first = last = index
        elif index == last + 1:
            last = index
        else:
            yield first, last
            first = last = index
    if first is not None and last is not None:
        yield first, last
