"""A source whose Redis lost its last second: it has forgotten batches that the table has. No row becomes two."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing

import pytest

from dataflow.ids import request_id
from dataflow.store.lane import CLOCK_SKEW_MS
from dataflow.testing.servers import ClickHouseServer, RedisServer
from tests.sync.sinks.clickhouse.tcp_lab import TcpLab

pytestmark = pytest.mark.integration


@pytest.fixture
def lab(own_redis: RedisServer, clickhouse: ClickHouseServer, server_table: str) -> Iterator[TcpLab]:
    with closing(TcpLab(own_redis.url, clickhouse.url, server_table)) as lab:
        yield lab


def other_batches(lab: TcpLab, redis: RedisServer, batch: int) -> TcpLab:
    """The same edge with batches of another size, so that what was forgotten is not frozen as it was."""
    other = TcpLab(redis.url, lab.ch_url, lab.table, batch=batch)
    other.filled = lab.filled
    return other


@pytest.mark.parametrize("batch", [3, 10, 500])
def test_settled_batches_are_forgotten(lab: TcpLab, own_redis: RedisServer, batch: int) -> None:
    lab.fill(25)
    lab.run(max_batches=1)
    cut = own_redis.log_bytes()
    assert lab.run().state == "empty"
    own_redis.restart_cut_at(cut)
    with closing(other_batches(lab, own_redis, batch)) as after:
        after.fill(7)
        assert after.run().state == "empty"
        after.all_once()


def test_the_process_that_lived_through_it_notices(lab: TcpLab, own_redis: RedisServer) -> None:
    runner = lab.tcp_runner()
    lab.fill(5)
    assert runner.run().state == "empty"
    lab.fill(20)
    cut = own_redis.log_bytes()
    assert runner.run().state == "empty"
    own_redis.restart_cut_at(cut)
    lab.fill(3)
    states = [runner.run().state for _ in range(2)]  # the first may find its connection broken
    assert states[-1] == "empty"
    runner.leave()
    lab.all_once()


def test_the_edge_itself_is_forgotten(lab: TcpLab, own_redis: RedisServer) -> None:
    lab.fill(12)
    cut = own_redis.log_bytes()
    assert lab.run().state == "empty"
    own_redis.restart_cut_at(cut)
    assert lab.run().state == "empty"
    lab.all_once()


def test_a_server_that_was_not_started_anew_is_believed(lab: TcpLab) -> None:
    """Nothing is looked up that need not be: the table may be large."""
    lab.fill(3)
    assert lab.run().state == "empty"  # everything that was there when the edge first ran was in doubt
    lease = lab.source().acquire("nonce", 1000, "")
    again = lab.source().acquire("nonce", 1000, "")
    assert lease.doubt_ms == again.doubt_ms > 0
    older, younger = lease.doubt_ms - 1, lease.doubt_ms + CLOCK_SKEW_MS + 1
    entry = b"%d-0" % younger
    for mid in ("{}-0", "{}-0.forward.0"):
        assert lease.doubts([entry], [mid.format(request_id(older)).encode()]), "made once more of an old message"
        assert not lease.doubts([entry], [mid.format(request_id(younger)).encode()])
    assert lease.doubts([entry], [b"a.stream_in/%d-0" % older]) and not lease.doubts([entry], [b"a.stream_in/" + entry])
    assert lease.doubts([b"%d-0" % older], [b"m1"]) and not lease.doubts([entry], [b"m1"])
