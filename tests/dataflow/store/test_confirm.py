"""What a target on another server is believed to keep: what one process of it has had for long enough."""

from __future__ import annotations

import time

import pytest

from dataflow.store.lane import CONFIRM_MS, Confirmed, Frozen, Lane, Lease
from tests.dataflow.store.store_contract import LONG_MS, freeze, place, put
from tests.dataflow.store.stores import SIDE, RealStore, mids

pytestmark = pytest.mark.integration
WAIT_MS = 400


class Settled:
    """A batch of two entries that the target has, and that is kept."""

    def __init__(self, store: RealStore) -> None:
        put(store, 1, 2, stream=SIDE)
        self._lane: Lane = store.lane()
        lease: Lease = self._lane.acquire("n1", LONG_MS, "line")
        self._batch: Frozen = freeze(self._lane, lease, 2)
        place(store, self._lane, lease, self._batch)
        self._lane.settle(lease, LONG_MS, self._batch, 2, [], keep=True)

    def ask(self, run_id: str) -> Confirmed:
        """The process of the target says now that it has the batch."""
        lease = self._lane.acquire("n1", LONG_MS, "line")
        return self._lane.confirm(lease, run_id, self._batch.seq, self._batch.digest, lease.at_ms, WAIT_MS)

    def wait(self, run_id: str) -> float:
        """Ask until it is confirmed. Gives the milliseconds that it took."""
        begun = time.monotonic()
        while self.ask(run_id).unconfirmed:
            assert time.monotonic() < begun + 10
            time.sleep(0.01)
        return (time.monotonic() - begun) * 1000


def test_three_seconds_are_what_a_server_needs() -> None:
    """It writes to its disk every second, and may be behind by another."""
    assert CONFIRM_MS == 3000


def test_a_batch_is_kept_until_the_target_has_had_it_for_long_enough(store: RealStore) -> None:
    settled = Settled(store)
    for _ in range(3):
        assert settled.ask("one").unconfirmed == 1
    assert mids(store, SIDE) == ["m1", "m2"]
    assert settled.wait("one") > WAIT_MS / 2
    assert mids(store, SIDE) == []


def test_another_process_of_the_target_begins_anew(store: RealStore) -> None:
    """What the one before it had may not have been on its disk."""
    settled = Settled(store)
    settled.ask("one")
    time.sleep(1.5 * WAIT_MS / 1000)
    assert settled.ask("two").unconfirmed == 1
    assert settled.ask("two").unconfirmed == 1
    assert mids(store, SIDE) == ["m1", "m2"]
    assert settled.wait("two") > WAIT_MS / 2
    assert mids(store, SIDE) == []
