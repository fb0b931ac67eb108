"""The target side of an edge into streams: applies a frozen batch once, whoever sends it and however often."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from dataflow.errors import BatchConflict, Fenced, TargetBehind
from dataflow.store.door import refusal
from dataflow.store.keys import Keys
from dataflow.store.lane import ANY
from dataflow.store.packing import packed_and_width
from dataflow.store.redis import Client
from dataflow.store.script import script

MAX_MESSAGES = 500
"""Most messages of one batch into streams."""


class Known(NamedTuple):
    """What a target remembers of a lineage: the last batch applied, and the epoch seen before ours.

    run_id names the process of the server, so that a restart is noticed; "" if the source is on the same server.
    """

    seq: int
    digest: str
    epoch: int
    run_id: str = ""


class Packed(NamedTuple):
    """Messages as `place` takes them. width: how many names each has, if all have the same; else 0."""

    messages: bytes
    width: int


class StreamTarget:
    """The streams of one Redis that an edge writes to, and the marker it keeps there per lineage. Blocking."""

    def __init__(self, redis: Client, keys: Keys, writer: str, streams: Sequence[str]) -> None:
        self._redis = redis
        self._keys = keys
        self._writer = writer
        self._names = list(streams)
        self._lanes = [keys.edge(writer), keys.edge(writer, retry=True)]
        self._targets: list[str] = []
        for name in streams:
            at = keys.stream(name)
            self._targets += (at.stream, at.counts)

    def handshake(self, lineage: str, epoch: int) -> Known:
        """Shut out runners of a lower epoch and learn the last batch applied.

        Raises Fenced when a higher epoch was here; nothing was changed.
        """
        names = [self._keys.marker(lineage), *self._lanes]
        answer = script("handshake").run(self._redis, names, [epoch, lineage])
        if answer[0] != b"OK":
            raise Fenced(f"edge {self._writer!r}: the target has seen epoch {answer[1]}, ours is {epoch}", answer[1])
        return Known(answer[1], answer[3].decode(), answer[2], answer[4].decode())

    def adopt(self, lineage: str, seq: int) -> int:
        """Take the source's word for it that batches up to `seq` were applied. Returns how many the target lacks.

        Only after a person has decided to give up what the target lost. The edge must be paused.
        """
        return int(script("adopt").run(self._redis, [self._keys.marker(lineage)], [seq]))

    @staticmethod
    def pack(messages: Iterable[tuple[int, Sequence[bytes]]]) -> Packed:
        """Messages made ready for `place`, out of (target number from 0, complete fields). Pure: may be done ahead.

        Where their paths are to go on with a hop, the fields begin with `_mid` and `_path`, empty or not.
        """
        return Packed(*packed_and_width(messages))

    def place(
        self,
        lineage: str,
        epoch: int,
        seq: int,
        digest: str,
        ids: Sequence[bytes],
        messages: Packed,
        prev: str = ANY,
        hop: str = "",
    ) -> bool:
        """Apply a batch: all messages, or none. True if it was new.

        Args:
            ids: source entries that are at the target once this batch is: those placed now, and those that were there.
            messages: as `pack` gives them.
            prev: digest of the batch before it.
            hop: what the path of each message goes on with, "" for nothing.

        Raises:
            StreamFull, NotDeclared, Fenced, TargetBehind, BatchConflict: nothing was written.
            OutcomeUnknown: repeat the same call.
        """
        keys = [self._keys.marker(lineage), *self._lanes, *self._targets]
        args = [epoch, seq, digest, self._writer, _packed(ids), prev, hop, messages.messages]
        answer = script("place", messages.width).run(self._redis, keys, args)
        kind = answer[0]
        if kind in (b"OK", b"APPLIED"):
            return bool(kind == b"OK")
        if kind == b"FENCED":
            raise Fenced(f"edge {self._writer!r}: a newer runner is at work; nothing was written", answer[1])
        if kind == b"GAP":
            raise TargetBehind(
                f"edge {self._writer!r}: the target remembers batch {answer[1]} as the last, the source sends {seq}: "
                "the target does not have the batch before it (restored from an older copy?)"
            )
        if kind == b"CONFLICT":
            known = [id_ for packed in answer[3:] for id_ in _unpacked(packed)]
            raise BatchConflict(
                f"edge {self._writer!r}: the target has another batch {seq}; the source must have lost its last writes",
                known, answer[1], answer[2].decode(),
            )  # fmt: skip
        raise refusal(answer, self._names)


def _packed(ids: Sequence[bytes]) -> bytes:
    """Ids of one batch, small: the marker of a busy edge holds those of ten seconds."""
    return zlib.compress(b" ".join(ids), 1)


def _unpacked(packed: bytes) -> list[bytes]:
    return zlib.decompress(packed).split()
