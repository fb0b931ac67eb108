"""Probes: alive, ready, version, queue sizes."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest

from dataflow import __version__
from dataflow.store.keys import Keys
from dataflow.store.redis import call
from dataflow.testing.servers import RedisServer
from tests.message_hub.support import Hub, free_message, message

pytestmark = pytest.mark.integration


def data(hub: Hub, path: str, status: int = 200) -> dict[str, Any]:
    answer = hub.client.get(path)
    assert answer.status_code == status, answer.text
    body = answer.get_json()
    assert body["status"] is (status == 200)
    found: dict[str, Any] = body["data"]
    return found


@pytest.mark.parametrize("path", ["/livez", "/readyz", "/version", "/queue_size_metrics"])
def test_every_probe_answers_with_and_without_a_slash(hub: Hub, path: str) -> None:
    assert hub.client.get(path).status_code == hub.client.get(f"{path}/").status_code == 200


def test_the_version_tells_program_and_flow(hub: Hub) -> None:
    found = data(hub, "/version")
    assert (found["version"], found["flow"], found["revision"]) == (__version__, "tests", 1)


def test_ready_names_full_streams_and_their_holders_and_is_ready_all_the_same(hub: Hub) -> None:
    assert data(hub, "/readyz")["full"] == []
    assert hub.post([message(n) for n in range(100)]).status_code == 202
    found = data(hub, "/readyz")
    (full,) = found["full"]
    assert (full["stream"], full["depth"], full["max_len"]) == ("meter.stream_in", 100, 100)
    assert (full["full_in_s"], full["held_by"]) == (0, ["score"])
    (hold,) = full["holds"]
    assert (hold["reader"], hold["reason"], hold["waiting"]) == ("score", "no_process", 100)
    assert "dataflow worker" in hold["text"]


def test_ready_names_a_stream_that_fills(hub: Hub) -> None:
    note = {"at_ms": int(time.time() * 1000) - 10_000, "depths": {"meter.stream_in": 0}}
    call(hub.redis, "LPUSH", Keys("tests").trend, json.dumps(note))
    assert hub.post([message(n) for n in range(50)]).status_code == 202
    found = data(hub, "/readyz")
    assert found["full"] == []
    (filling,) = found["filling"]
    assert (filling["stream"], filling["holds"][0]["reader"]) == ("meter.stream_in", "score")
    assert 8 <= filling["full_in_s"] <= 12


def test_a_flow_that_is_not_applied_is_not_ready(hub: Hub) -> None:
    call(hub.redis, "FLUSHALL")
    found = data(hub, "/readyz", 503)
    assert set(found["undeclared"]) == set(hub.flow.streams)


def test_without_redis_it_lives_but_is_not_ready() -> None:
    with RedisServer() as server:
        hub = Hub(server.url)
        server.stop()
        data(hub, "/livez")
        assert data(hub, "/readyz", 503)["redis"] is False
        for path in ("/queue_size_metrics", "/messages/x"):
            answer = hub.client.get(path)
            assert answer.status_code == 503
            assert answer.get_json()["msg"].startswith("cannot look: ")
            assert int(answer.headers["Retry-After"]) >= 1


def test_queue_sizes_are_told_in_total_and_per_stream(hub: Hub) -> None:
    assert hub.post([message(0), free_message(1), free_message(2)]).status_code == 202
    call(hub.redis, "XADD", hub.keys.stream("meter.stream_out").stream, "*", "a", "1")
    found = hub.client.get("/queue_size_metrics").get_json()
    assert (found["pre_queue"], found["post_queue"]) == (3, 1)
    assert found["streams"]["free.stream_in"] == {"queue": "pre_queue", "depth": 2, "max_len": 5000}
    assert found["streams"]["meter.stream_out"]["queue"] == "post_queue"
