"""Clocks that jump decide nothing about messages: order and leases follow the clock of Redis, ids need none.

The clock of Redis itself may jump, too: leases end early or late then, and fencing holds.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from dataflow.ids import message_id, mid_time_ms, request_id
from dataflow.store.door import Door, Outgoing, Record
from dataflow.testing import clock as clocks
from dataflow.testing.clock import Clock
from dataflow.testing.servers import NO_CLICKHOUSE, RedisServer, clickhouse_binary, in_ci
from tests.faults.rig import Rig
from tests.sync.lab import Lab

HOUR_S = 3600
HOUR_MS = 1000 * HOUR_S
DAY_S = 24 * HOUR_S


@pytest.fixture
def clock(tmp_path: Path) -> Clock:
    """The clock of a Redis, right at first."""
    if clocks.missing() and not in_ci():
        pytest.skip(clocks.missing())
    return Clock(tmp_path)


@pytest.fixture
def clocked_redis(clock: Clock) -> Iterator[RedisServer]:
    """A server that runs by it."""
    with RedisServer(clock.binary, environ=clock.environ) as server:
        yield server


def test_ids_given_while_the_clock_of_the_hub_jumps_are_all_different() -> None:
    at_ms = 1_800_000_000_000
    clock = [at_ms + jump for jump in (0, 0, HOUR_MS, -HOUR_MS, -HOUR_MS, 0)]
    ids = [message_id(request_id(now_ms), 0) for now_ms in clock]
    assert len(set(ids)) == len(ids)
    assert [mid_time_ms(mid) for mid in ids] == clock


@pytest.mark.integration
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


@pytest.mark.acceptance
@pytest.mark.parametrize("ahead_s", [HOUR_S, -HOUR_S])
def test_the_clock_of_redis_jumps_there_and_back_under_load(ahead_s: int, clock: Clock, tmp_path: Path) -> None:
    """An hour is more than every lease. Nothing is lost or double, and all arrives, though the clock was set back."""
    if clickhouse_binary() is None and not in_ci():
        pytest.skip(NO_CLICKHOUSE)
    folder = tmp_path / "flow"
    folder.mkdir()
    with Rig(folder, redis=RedisServer(clock.binary, environ=clock.environ)) as rig:
        with rig.load():
            for now_s in (ahead_s, 0, ahead_s):
                clock.set(now_s)
                rig.until("Redis goes by it", lambda now_s=now_s: _runs_ahead_s(rig) == pytest.approx(now_s, abs=60))  # type: ignore[misc]
                arrived = len(rig.rows("graded"))
                rig.until("the flow goes on", lambda: len(rig.rows("graded")) > arrived)  # noqa: B023
        rig.assert_whole()


@pytest.mark.acceptance
def test_who_dies_before_the_clock_of_redis_is_set_back_is_replaced_at_once(clock: Clock, tmp_path: Path) -> None:
    """Its lease lasts an hour longer by that clock; on the same machine it is known to be dead."""
    if clickhouse_binary() is None and not in_ci():
        pytest.skip(NO_CLICKHOUSE)
    folder = tmp_path / "flow"
    folder.mkdir()
    with Rig(folder, redis=RedisServer(clock.binary, environ=clock.environ)) as rig:
        with rig.load():
            for name in ("worker.double", "sync"):
                rig.kill(name)
            clock.set(-HOUR_S)
        rig.assert_whole()


@pytest.mark.integration
def test_idempotency_records_last_24_hours_of_the_clock_of_redis(clock: Clock, clocked_redis: RedisServer) -> None:
    """A clock that is set forward by more than that forgets them: a request repeated then is a new one."""
    lab = Lab(clocked_redis.url)
    door = Door(lab.redis, lab.keys)
    record = Record("a key", "digest", "request", 1, DAY_S)

    def send() -> bool:
        message = Outgoing(lab.edge.source, [b"_mid", b"m1", b"_path", b"hub@1", b"n", b"1"])
        return door.append([message], record=record).repeated

    assert not send()
    for ahead_s, repeated in ((DAY_S - HOUR_S, True), (-DAY_S, True), (0, True), (DAY_S + HOUR_S, False)):
        clock.set(ahead_s)
        assert send() is repeated, ahead_s
    lab.close()


def _runs_ahead_s(rig: Rig) -> float:
    """By how much the clock of Redis is ahead of ours."""
    return float(rig.client.time()[0]) - time.time()
