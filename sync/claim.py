"""Whether a runner still has its edge: asked at the source, just before rows leave for a target that cannot fence."""

from __future__ import annotations

from typing import Protocol

from dataflow.errors import Fenced
from dataflow.store.keys import Keys
from dataflow.store.redis import Client, call

_LANES = (False, True)


class Claim(Protocol):
    """Knows who has the lease of each lineage of an edge. Blocking."""

    def check(self, lineage: str, epoch: int, nonce: str = "") -> None:
        """Return if this runner has not been overtaken.

        Args:
            nonce: whose lease it is; "" to look at the epoch alone.

        Raises Fenced (with the epoch of who has), ServerAway, OutcomeUnknown: whether it has cannot be told.
        """


class SourceClaim:
    """Looks at the leases of both lanes of an edge in the source's Redis."""

    def __init__(self, redis: Client, keys: Keys, edge: str) -> None:
        self._redis = redis
        self._edge = edge
        self._lanes = [keys.edge(edge, retry=retry) for retry in _LANES]

    def check(self, lineage: str, epoch: int, nonce: str = "") -> None:
        """See Claim."""
        for lane in self._lanes:
            found, held, holder = call(self._redis, "HMGET", lane, "lineage", "epoch", "nonce")
            if found == lineage.encode():
                if int(held) != epoch or (nonce and holder != nonce.encode()):
                    raise Fenced(f"edge {self._edge!r}: another runner has taken over; nothing was sent", int(held))
                return
        raise Fenced(f"edge {self._edge!r}: the source does not know lineage {lineage} any more; nothing was sent")
