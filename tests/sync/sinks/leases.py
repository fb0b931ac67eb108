"""Who has which lease, in memory: what a source's Redis tells a sink that must ask."""

from __future__ import annotations

from dataflow.errors import Fenced


class Leases:
    """Stands in for `sync.claim.SourceClaim`: a lease is another's as soon as somebody took it with a higher epoch."""

    def __init__(self) -> None:
        self.epochs: dict[str, int] = {}
        self.asked = 0

    def take(self, lineage: str, epoch: int) -> None:
        """What a runner does before it shakes hands."""
        self.epochs[lineage] = max(epoch, self.epochs.get(lineage, 0))

    def check(self, lineage: str, epoch: int, nonce: str = "") -> None:
        """See Claim."""
        self.asked += 1
        held = self.epochs.get(lineage, epoch)
        if epoch < held:
            raise Fenced("another runner has taken over", held)
