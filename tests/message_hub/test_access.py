"""Who gets in at the hub."""

from __future__ import annotations

import pytest

from dataflow.access.ring import add_key, revoke
from dataflow.access.scopes import OPEN, SCOPES, Scope
from message_hub.app import NEEDS, create_app
from message_hub.live_net import LiveNet
from tests.message_hub.support import Hub, message

pytestmark = pytest.mark.integration


def key(hub: Hub, *scopes: Scope, name: str = "meter", rate: float = 0.0) -> dict[str, str]:
    """The header of a new key."""
    return {"X-API-Key": add_key(hub.redis, hub.keys, name, scopes, rate=rate)[1].text}


@pytest.fixture
def closed(redis_url: str) -> Hub:
    """A hub that asks for keys though there are none."""
    hub = Hub(redis_url)
    hub.client = create_app(LiveNet(lambda: hub.net), hub.settings, keys_required=True).test_client()
    return hub


def test_every_address_says_what_it_needs(hub: Hub) -> None:
    assert {rule.endpoint for rule in hub.app.url_map.iter_rules()} == set(NEEDS)


REQUESTS = {
    "message_hub": ("POST", "/message_hub/"),
    "stream_messages": ("POST", "/streams/meter.stream_in/messages"),
    "message": ("GET", "/messages/01kajw5s3q8f2m7x0v4c6bn9ht-0"),
    "version": ("GET", "/version"),
    "queue_size_metrics": ("GET", "/queue_size_metrics"),
}


@pytest.mark.parametrize("scope", SCOPES)
@pytest.mark.parametrize("endpoint", [name for name, need in NEEDS.items() if need is not OPEN])
def test_each_scope_at_each_address(closed: Hub, endpoint: str, scope: Scope) -> None:
    method, path = REQUESTS[endpoint]
    headers = key(closed, scope)
    answer = closed.client.open(path, method=method, json=[message()] if method == "POST" else None, headers=headers)
    may = scope == "admin" or scope in (NEEDS[endpoint] or ()) or (scope == "operate" and method == "GET")
    assert (answer.status_code not in (401, 403)) is may
    assert closed.depth() == (1 if may and method == "POST" else 0)
    if not may:
        assert answer.get_json()["data"]["has"] == [scope] and "this needs" in answer.get_json()["msg"]


@pytest.mark.parametrize("method_path", [*REQUESTS.values(), ("GET", "/nothing"), ("DELETE", "/version")])
def test_nobody_gets_in_without_a_key(closed: Hub, method_path: tuple[str, str]) -> None:
    method, path = method_path
    answer = closed.client.open(path, method=method, json=[message()] if method == "POST" else None)
    assert answer.status_code == 401 and answer.get_json()["status"] is False
    assert "X-API-Key" in answer.get_json()["msg"] and answer.headers["WWW-Authenticate"].startswith("Bearer")
    assert closed.stored() == 0


def test_health_tells_strangers_yes_or_no_and_nothing_else(closed: Hub) -> None:
    viewer = key(closed, "viewer")
    assert closed.client.get("/livez").status_code == 200
    assert closed.client.get("/readyz").get_json()["data"] == {"redis": True}
    assert closed.client.get("/readyz", headers={"X-API-Key": "wrong"}).get_json()["data"] == {"redis": True}
    assert "alarms" in closed.client.get("/readyz", headers=viewer).get_json()["data"]
    closed.redis.flushall()
    told = closed.client.get("/readyz")
    assert told.status_code == 503 and "meter" not in told.text


def test_a_key_that_is_made_closes_a_hub_that_was_open(hub: Hub) -> None:
    assert hub.post([message()]).status_code == 202
    made, _ = add_key(hub.redis, hub.keys, "meter", ("produce",))
    revoke(hub.redis, hub.keys, made.id)
    later = create_app(LiveNet(lambda: hub.net), hub.settings).test_client()
    assert later.post("/message_hub/", json=[message()]).status_code == 401


def test_callers_have_idempotency_keys_of_their_own(closed: Hub) -> None:
    mine, theirs, renewed = key(closed, "produce"), key(closed, "produce", name="other"), key(closed, "produce")
    first = closed.post([message(1)], Idempotency_Key="k", **mine)
    assert closed.post([message(2)], Idempotency_Key="k", **theirs).status_code == 202
    again = closed.post([message(1)], Idempotency_Key="k", **renewed)
    assert again.get_json()["data"] == first.get_json()["data"], "another key of the same name is the same caller"
    assert again.headers["Idempotency-Replayed"] == "true" and closed.depth() == 2


def test_a_rate_limit_refuses_whole_and_says_when_to_come_back(closed: Hub) -> None:
    headers = key(closed, "produce", rate=1)
    statuses = [closed.post([message(n)], **headers).status_code for n in range(5)]
    refused = closed.post([message(9)], **headers)
    assert statuses[0] == 202 and refused.status_code == 429 and int(refused.headers["Retry-After"]) >= 1
    assert refused.get_json()["data"]["outcome"] == "not_stored" and closed.depth() == statuses.count(202) < 5


@pytest.mark.parametrize(
    ("sent", "kept"), [("abc-1", True), ("a b", False), ("x" * 129, False), ("", False), ("é", False)]
)
def test_request_ids_go_in_and_out(hub: Hub, sent: str, kept: bool) -> None:
    answers = [hub.client.get(path, headers={"X-Request-ID": sent}) for path in ("/livez", "/nothing")]
    for answer in answers:
        assert (answer.headers["X-Request-ID"] == sent) is kept and answer.headers["X-Request-ID"]
