"""Hints on a real broker."""

from __future__ import annotations

import time

import pytest
import redis

from dataflow.broker import broker_url, queue_of
from dataflow.errors import ServerAway
from dataflow.testing.servers import RedisServer
from scheduler.jobs.edge import EXPIRED, HELD, EdgeJob, Hints
from tests.scheduler.rig import Rig, eventually
from tests.scheduler.worker import HintTaker

pytestmark = pytest.mark.integration


def test_a_hint_is_taken_and_its_outcome_found(redis_url: str) -> None:
    hints = Hints(broker_url(redis_url, {}), queue_of("f"))
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
    url = broker_url(redis_url, {})
    with redis.Redis.from_url(url) as client:
        client.set("celery-task-meta-h", meta)
    outcome = Hints(url, "q").outcome("h")
    assert outcome is not None and (outcome.state, outcome.error) == (state, error)


def test_hints_that_nobody_takes_do_not_pile_up(redis_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dataflow.hints.MOST", 3)
    url = broker_url(redis_url, {})
    hints = Hints(url, "dataflow.pile")
    for n in range(3):
        hints.send("move", n, f"p{n}")
    with pytest.raises(ServerAway, match="3 hints wait that no one takes; start `dataflow sync`"):
        hints.send("move", 3, "p3")
    with redis.Redis.from_url(url) as client:
        assert client.llen("dataflow.pile") == 3


def test_no_subscription_stays_behind(redis_url: str) -> None:
    url = broker_url(redis_url, {})
    hints = Hints(url, "dataflow.q")
    for n in range(20):
        hints.send("move", n, f"h{n}")
        hints.outcome(f"h{n}")
    with redis.Redis.from_url(url) as client:
        assert client.pubsub_channels() == []


def test_a_broker_that_is_away_is_told_at_once(own_redis: RedisServer, rig: Rig) -> None:
    hints = Hints(broker_url(own_redis.url, {}), "q")
    own_redis.kill()
    begun = time.monotonic()
    with pytest.raises(ServerAway, match="could not be sent"):
        hints.send("move", 1, "h")
    with pytest.raises(ServerAway, match="cannot be read"):
        hints.outcome("h")
    assert EdgeJob("s2s", lambda: rig.flow, hints).run({"edge": "move"}, 1, "h") is None, "it counts as lost"
    assert time.monotonic() - begun < 20
