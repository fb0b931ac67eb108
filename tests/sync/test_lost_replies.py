"""The network loses an answer: the step was carried out, and the runner does not know it."""

from __future__ import annotations

import pytest

from dataflow.testing.servers import RedisServer
from tests.sync.lab import Lab
from tests.sync.proxy import Proxy

pytestmark = pytest.mark.integration


@pytest.mark.parametrize("step", ["lease", "freeze", "settle"])
def test_at_the_source(redis_url: str, step: str) -> None:
    Lab(redis_url).run()  # the scripts are there
    with Proxy(redis_url) as proxy:
        lab = Lab(proxy.url)
        lab.fill(25, n=1, note="x")
        runner = lab.runner()
        proxy.swallow(step)
        run = runner.run()
        assert (run.state, proxy.swallowed) == ("unknown", 1)
        assert "did not answer" in run.error
        lab.fill(5)
        assert runner.run().state == "empty"
        lab.each_once()


@pytest.mark.parametrize("step", ["handshake", "place"])
def test_at_the_target(redis_url: str, own_redis: RedisServer, step: str) -> None:
    warm = Lab(redis_url, target_url=own_redis.url)
    warm.fill(1)
    warm.run()
    warm.empty_target()
    with Proxy(own_redis.url) as proxy:
        lab = Lab(redis_url, target_url=proxy.url)
        lab.filled = 1
        lab.fill(24)
        runner = lab.runner()
        proxy.swallow(step)
        assert (runner.run().state, proxy.swallowed) == ("unknown", 1)
        assert runner.run().state == "empty"
        assert lab.arrived() == [f"m{n}" for n in range(1, 25)]


def test_a_server_that_stands_still_is_waited_for(redis_url: str, own_redis: RedisServer) -> None:
    lab = Lab(redis_url, target_url=own_redis.url)
    lab.fill(15)
    lab.target.connection_pool.connection_kwargs.update(socket_timeout=0.2)
    lab.target.connection_pool.disconnect()
    lab.run(max_batches=1)
    own_redis.freeze()
    assert lab.run().state == "unknown"
    own_redis.thaw()
    assert lab.run().state == "empty"
    lab.each_once()


def test_a_server_that_is_away_is_told(redis_url: str, own_redis: RedisServer) -> None:
    lab = Lab(redis_url, target_url=own_redis.url)
    lab.fill(15)
    own_redis.stop()
    assert lab.run().state in ("away", "unknown")
    assert lab.run().state == "away"
    own_redis.start()
    assert lab.run().state in ("empty", "unknown")
    lab.run()
    lab.each_once()
