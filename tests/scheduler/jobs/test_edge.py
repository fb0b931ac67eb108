"""Hints on a real broker."""

from __future__ import annotations

import logging
import time

import pytest
import redis

from dataflow.broker import broker_url, queue_of
from dataflow.errors import ServerAway
from dataflow.store.keys import Keys
from dataflow.store.lefthints import LeftHint, LeftHints
from dataflow.store.redis import connect
from dataflow.testing.servers import RedisServer
from scheduler.jobs.edge import EXPIRED, HELD, EdgeJob, Hints
from scheduler.record import Outcome
from tests.scheduler.rig import Rig, eventually
from tests.scheduler.worker import HintTaker

pytestmark = pytest.mark.integration


def hints_of(redis_url: str, queue: str) -> Hints:
    """The hints of a flow whose broker is on its own Redis, as it is by default."""
    return Hints(broker_url(redis_url, {}), queue, left_at(redis_url))


def left_at(redis_url: str) -> LeftHints:
    """Where hints are left."""
    return LeftHints(connect(redis_url), Keys("f"))


def test_a_hint_is_taken_and_its_outcome_found(redis_url: str) -> None:
    hints = hints_of(redis_url, queue_of("f"))
    hints.send("move", 1_000, "h1")
    assert hints.outcome("h1") is None
    with HintTaker(redis_url, queue_of("f")) as taker:
        eventually("an outcome", lambda: hints.outcome("h1") is not None)
    assert (taker.taken, taker.ids) == ([("move", 1_000)], ["h1"])
    outcome = hints.outcome("h1")
    assert outcome is not None and (outcome.state, outcome.error, outcome.facts) == ("empty", "", {"read": 2})


@pytest.mark.parametrize(
    ("meta", "state", "error"),
    [
        ('{"status": "SUCCESS", "result": {"state": "held", "error": ""}}', HELD, ""),
        ('{"status": "SUCCESS", "result": {"state": "paused", "error": "drift"}}', "paused", "drift"),
        ('{"status": "SUCCESS", "result": {"state": "undeclared"}}', "undeclared", "undeclared"),
        ('{"status": "REVOKED", "result": null}', EXPIRED, "the hint was not taken in time"),
        ('{"status": "SUCCESS", "result": null}', "ok", ""),
        (
            '{"status": "FAILURE", "result": {"exc_type": "ValueError", "exc_message": ["no"],'
            ' "exc_module": "builtins"}}',
            "error",
            "no",
        ),
    ],
)  # fmt: skip
def test_every_end_is_understood(redis_url: str, meta: str, state: str, error: str) -> None:
    with redis.Redis.from_url(broker_url(redis_url, {})) as client:
        client.set("celery-task-meta-h", meta)
    outcome = hints_of(redis_url, "q").outcome("h")
    assert outcome is not None and (outcome.state, outcome.error) == (state, error)


def test_hints_that_nobody_takes_do_not_pile_up(redis_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dataflow.hints.MOST", 3)
    hints = hints_of(redis_url, "dataflow.pile")
    for n in range(5):
        hints.send("move", n, f"p{n}")
    with redis.Redis.from_url(broker_url(redis_url, {})) as client:
        assert client.llen("dataflow.pile") == 3
    assert left_at(redis_url).take() == [LeftHint("move", "p4", 4)]


def test_a_full_broker_leaves_them_in_the_flows_redis_and_says_so_once(
    own_redis: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    hints, left = hints_of(own_redis.url, queue_of("f")), left_at(own_redis.url)
    caplog.set_level(logging.INFO, "dataflow.scheduler")
    with own_redis.client() as client:
        client.config_set("maxmemory", 1)
        for tick in range(3):
            hints.send("move", tick, f"h{tick}")
        assert left.take() == [LeftHint("move", "h2", 2)]
        left.tell("h2", {"state": "empty", "read": 2})
        assert hints.outcome("h2") == Outcome("empty", "", {"read": 2})
        client.config_set("maxmemory", 0)
    hints.send("move", 3, "h3")
    assert left.take() == []
    assert [record.levelname for record in caplog.records] == ["WARNING", "INFO"]
    assert "left in the flow's own Redis" in caplog.text


def test_no_subscription_stays_behind(redis_url: str) -> None:
    hints = hints_of(redis_url, "dataflow.q")
    for n in range(20):
        hints.send("move", n, f"h{n}")
        hints.outcome(f"h{n}")
    with redis.Redis.from_url(broker_url(redis_url, {})) as client:
        assert client.pubsub_channels() == []


def test_a_broker_of_its_own_that_is_away_is_done_without(redis_url: str, own_redis: RedisServer) -> None:
    hints = Hints(broker_url(own_redis.url, {}), "q", left_at(redis_url))
    own_redis.kill()
    hints.send("move", 1, "h")
    assert left_at(redis_url).take() == [LeftHint("move", "h", 1)]
    with pytest.raises(ServerAway, match="the outcome of a run cannot be read"):
        hints.outcome("h")


def test_a_broker_that_is_away_is_told_at_once(own_redis: RedisServer, rig: Rig) -> None:
    hints = hints_of(own_redis.url, "q")
    own_redis.kill()
    begun = time.monotonic()
    with pytest.raises(ServerAway):
        hints.send("move", 1, "h")
    with pytest.raises(ServerAway):
        hints.outcome("h")
    assert EdgeJob("s2s", lambda: rig.flow, hints).run({"edge": "move"}, 1, "h") is None, "it counts as lost"
    assert time.monotonic() - begun < 20
