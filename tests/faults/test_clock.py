"""Clocks that jump decide nothing about messages: order and leases follow the clock of Redis, ids need none."""

from __future__ import annotations

import pytest

from dataflow.ids import message_id, mid_time_ms, request_id
from tests.sync.lab import Lab

pytestmark = pytest.mark.integration

HOUR_MS = 3_600_000


def test_ids_given_while_the_clock_of_the_hub_jumps_are_all_different() -> None:
    at_ms = 1_800_000_000_000
    clock = [at_ms + jump for jump in (0, 0, HOUR_MS, -HOUR_MS, -HOUR_MS, 0)]
    ids = [message_id(request_id(now_ms), 0) for now_ms in clock]
    assert len(set(ids)) == len(ids)
    assert [mid_time_ms(mid) for mid in ids] == clock


@pytest.mark.parametrize("jump_ms", [-HOUR_MS, HOUR_MS])
def test_messages_stay_in_the_order_in_which_they_came(redis_url: str, jump_ms: int) -> None:
    lab = Lab(redis_url)
    at_ms = 1_800_000_000_000
    mids = [message_id(request_id(now_ms), 0) for now_ms in (at_ms, at_ms + jump_ms, at_ms)]
    for mid in mids:
        lab.append_raw(b"_mid", mid.encode(), b"n", b"1")
    assert lab.run().state == "empty"
    assert lab.arrived() == mids
    lab.close()
