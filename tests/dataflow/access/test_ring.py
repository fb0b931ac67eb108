"""Keys, buckets and history in a real Redis."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from dataflow.access import history
from dataflow.access.bucket import draw
from dataflow.access.gate import ANYBODY, NOBODY, Denied, Gate
from dataflow.access.ring import LOOK_AGAIN_S, LOOK_EVERY_S, LiveRing, add_key, read_ring, revoke
from dataflow.access.scopes import OPEN, needs
from dataflow.errors import ServerAway, UnknownName, UserError
from dataflow.store.keys import Keys
from dataflow.store.redis import Client, call, connect
from dataflow.testing.servers import RedisServer

pytestmark = pytest.mark.integration

KEYS = Keys("f")


@pytest.fixture
def redis(both_redis_url: str) -> Iterator[Client]:
    client = connect(both_redis_url)
    yield client
    client.close()


def headers(text: str) -> dict[str, str]:
    return {"X-API-Key": text}


def test_a_key_is_kept_without_its_secret(redis: Client) -> None:
    key, token = add_key(redis, KEYS, "meter", ("produce",), rate=5)
    assert read_ring(redis, KEYS) == {key.id: key} and key.opens_with(token.secret)
    everything = repr([call(redis, "HGETALL", name) for name in call(redis, "KEYS", "*")])
    assert token.secret not in everything and key.digest in everything


def test_two_live_keys_of_a_name_and_no_third(redis: Client) -> None:
    first, _ = add_key(redis, KEYS, "meter", ("produce",))
    second, _ = add_key(redis, KEYS, "meter", ("produce",))
    with pytest.raises(UserError, match="2 live keys"):
        add_key(redis, KEYS, "meter", ("produce",))
    add_key(redis, KEYS, "other", ("produce",))
    assert revoke(redis, KEYS, first.id) == [first]
    third, _ = add_key(redis, KEYS, "meter", ("produce",))
    assert {one.id for one in revoke(redis, KEYS, "meter")} == {second.id, third.id}
    assert revoke(redis, KEYS, "meter") == []
    with pytest.raises(UnknownName):
        revoke(redis, KEYS, "nobody")


@pytest.mark.parametrize("name", ["", "a b", "x" * 65, "-x", "a\n", "é"])
def test_names_that_cannot_be(redis: Client, name: str) -> None:
    with pytest.raises(UserError, match="cannot name"):
        add_key(redis, KEYS, name, ("produce",))


def test_a_revoked_key_is_refused_within_seconds(redis: Client) -> None:
    now = [0.0]
    ring = LiveRing(lambda: (redis, KEYS), lambda: now[0])
    key, _ = add_key(redis, KEYS, "meter", ("produce",))
    assert not ring.current()[key.id].revoked_ms
    revoke(redis, KEYS, key.id)
    now[0] += LOOK_EVERY_S
    assert ring.current()[key.id].revoked_ms


def test_a_key_that_was_just_made_gets_in(redis: Client) -> None:
    gate = Gate(lambda: (redis, KEYS), required=True)
    assert gate.admit({}, OPEN) == NOBODY
    _, token = add_key(redis, KEYS, "meter", ("produce",))
    deadline = time.monotonic() + LOOK_AGAIN_S + 0.5
    while gate.admit(headers(token.text), OPEN) == NOBODY:
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_a_flow_is_open_until_it_has_a_key_and_never_again(redis: Client) -> None:
    assert Gate(lambda: (redis, KEYS)).admit({}, needs("admin")) == ANYBODY
    key, _ = add_key(redis, KEYS, "meter", ("produce",))
    revoke(redis, KEYS, key.id)
    with pytest.raises(Denied):
        Gate(lambda: (redis, KEYS)).admit({}, needs("viewer"))


def test_required_keys_are_asked_for_while_there_are_none(redis: Client) -> None:
    gate = Gate(lambda: (redis, KEYS), required=True)
    with pytest.raises(Denied):
        gate.admit({}, needs("viewer"))
    assert gate.admit({}, OPEN) == NOBODY


def test_known_keys_hold_while_redis_is_away_and_others_cannot_be_told() -> None:
    with RedisServer() as server:
        redis = connect(server.url)
        key, token = add_key(redis, KEYS, "meter", ("produce",))
        gate, late = Gate(lambda: (redis, KEYS)), Gate(lambda: (redis, KEYS))
        assert gate.admit(headers(token.text), needs("produce")).key_id == key.id
        server.stop()
        deadline = time.monotonic() + LOOK_EVERY_S + 0.5
        while time.monotonic() < deadline:
            assert gate.admit(headers(token.text), needs("produce")).key_id == key.id
            time.sleep(0.1)
        with pytest.raises(ServerAway):
            late.admit(headers(token.text), needs("produce"))
        assert late.admit({}, OPEN) == NOBODY
        redis.close()


def test_a_bucket_gives_its_tokens_and_no_more(redis: Client) -> None:
    key, _ = add_key(redis, KEYS, "meter", ("produce",), rate=2)
    assert [draw(redis, KEYS, key) for _ in range(2)] == [0, 0]
    wait_s = draw(redis, KEYS, key)
    assert 0 < wait_s <= 0.5
    bucket = KEYS.access_rate(key.id)
    at_ms = int(call(redis, "HGET", bucket, "at_ms"))
    call(redis, "HSET", bucket, "at_ms", at_ms - 10_000)
    assert [draw(redis, KEYS, key) > 0 for _ in range(3)] == [False, False, True], "it never holds more than a second's"
    assert 0 < call(redis, "PTTL", bucket) <= 2000


def test_a_slow_rate_lets_one_through_and_says_how_long_to_wait(redis: Client) -> None:
    _, token = add_key(redis, KEYS, "meter", ("produce",), rate=0.1)
    gate = Gate(lambda: (redis, KEYS))
    gate.admit(headers(token.text), needs("produce"))
    with pytest.raises(Denied) as denied:
        gate.admit(headers(token.text), needs("produce"))
    assert denied.value.status == 429 and 1 <= int(denied.value.headers["Retry-After"]) <= 10


def test_history_reads_back_and_is_bounded(redis: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(history, "KEPT", 50)
    for n in range(400):
        history.record(redis, KEYS, "key k1 ops", "pause_a_task", f"t{n}", request="r-1", status=200)
    last = history.read(redis, KEYS, 2)
    assert [(one.who, one.what, one.subject, one.request, one.facts) for one in last] == [
        ("key k1 ops", "pause_a_task", f"t{n}", "r-1", {"status": 200}) for n in (398, 399)
    ]
    assert 50 <= len(history.read(redis, KEYS, 1000)) < 200


def test_history_never_fails_a_change(caplog: pytest.LogCaptureFixture) -> None:
    away = connect("redis://127.0.0.1:1/0", timeout_s=0.5)
    history.record(away, KEYS, "cli@host me", "release", "s/g")
    assert "not kept in Redis" in caplog.text
