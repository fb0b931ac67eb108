"""The doors on a real Redis: all or nothing, every refusal in the envelope, nothing stored on any of them."""

from __future__ import annotations

import gzip
import json
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from werkzeug.test import TestResponse

from dataflow.flow.load import loads
from dataflow.ids import mid_time_ms
from dataflow.store.memory import read_memory
from dataflow.store.redis import call, connect
from dataflow.testing.servers import RedisServer
from message_hub.live_net import LiveNet
from message_hub.net import Net
from tests.message_hub.support import Hub, flow_text, free_message, message

pytestmark = pytest.mark.integration


def refusal(answer: TestResponse, status: int) -> dict[str, Any]:
    """The data of an answer that must be a refusal of this status."""
    assert answer.status_code == status, answer.text
    body = answer.get_json()
    assert body["status"] is False
    assert body["msg"]
    assert body["duration"] >= 0
    assert list(body) == ["status", "msg", "name", "duration", "data"]
    data: dict[str, Any] = body["data"]
    assert isinstance(data["errors"], list)
    return data


def codes(answer: TestResponse, status: int = 422) -> list[tuple[int, str, str]]:
    return [(error["index"], error["field"], error["code"]) for error in refusal(answer, status)["errors"]]


def test_a_list_is_stored_and_answered_with_its_ids(hub: Hub) -> None:
    answer = hub.post([message(0, ts="2024-05-01T12:00:00Z", ok=True), message(1, flow=None, data="ü")])
    assert answer.status_code == 202
    body = answer.get_json()
    assert (body["status"], body["msg"], body["name"]) == (True, "ok", "message_hub")
    assert body["data"]["accepted"] == 2
    ids = body["data"]["ids"]
    assert [fields[1].decode() for fields in hub.entries()] == ids
    assert all(fields[2] == b"_path" and fields[3].startswith(b"hub@") for fields in hub.entries())
    assert [mid_time_ms(mid) for mid in ids] == [int(hub.entries()[0][3].removeprefix(b"hub@"))] * 2
    extra = {"task_for": "meter", "function_type": "score"}
    at = datetime(2024, 5, 1, 12, tzinfo=UTC)
    assert hub.messages() == [
        {"rec_id": "r0", "n": 0, "ts": at, "ok": True, "flow": None, **extra},
        {"rec_id": "r1", "n": 1, "ts": None, "ok": None, "flow": None, "data": "ü", **extra},
    ]


@pytest.mark.parametrize("path", ["/message_hub/", "/message_hub"])
@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (json.dumps(message()), "application/json"),
        (json.dumps([message()]), "application/json; charset=UTF-8"),
        (json.dumps({"messages": [message()]}), "application/json"),
        (json.dumps(message()) + "\n", "application/x-ndjson"),
        (json.dumps(message()) + "\n\n", "application/jsonl"),
    ],
)
def test_every_form_is_taken_with_and_without_the_slash_and_packed(hub: Hub, path: str, body: str, kind: str) -> None:
    plain = hub.post(body.encode(), path, Content_Type=kind)
    packed = hub.post(gzip.compress(body.encode()), path, Content_Type=kind, Content_Encoding="gzip")
    assert (plain.status_code, packed.status_code) == (202, 202)
    assert hub.depth() == 2


def test_the_messages_of_one_request_may_go_to_several_streams(hub: Hub) -> None:
    assert hub.post([message(0), free_message(1), message(2)]).status_code == 202
    assert [entry["rec_id"] for entry in hub.messages()] == ["r0", "r2"]
    assert [entry["rec_id"] for entry in hub.messages("free.stream_in")] == ["r1"]


def test_one_bad_message_refuses_the_request_whole(hub: Hub) -> None:
    answer = hub.post([message(0), free_message(1), message(2, flow="wet"), {"n": [1]}])
    assert codes(answer) == [
        (2, "flow", "wrong_type"),
        (3, "rec_id", "missing"),
        (3, "task_for", "missing"),
        (3, "function_type", "missing"),
        (3, "n", "nested"),
    ]
    assert hub.stored() == 0


def test_every_bad_message_is_named_and_of_each_the_first_faults(hub: Hub) -> None:
    data = refusal(hub.post([{}] * 700), 422)
    assert (len(data["errors"]), data["more"]) == (2100, 0)
    wrong = message(1, **{f"f{n}": [n] for n in range(400)})
    data = refusal(hub.post([wrong, message(2), wrong]), 422)
    assert [error["index"] for error in data["errors"]] == [0] * 20 + [2] * 20
    assert data["more"] == 760


@pytest.mark.parametrize(
    ("path", "body", "headers", "status"),
    [
        ("/message_hub/", b"[{]", {}, 400),
        ("/message_hub/", b'[{"a":NaN}]', {}, 400),
        ("/message_hub/", b'[{"rec_id":1,"rec_id":2}]', {}, 400),
        ("/message_hub/", b"[" * 200_000, {}, 400),
        ("/message_hub/", b"[]", {}, 400),
        ("/message_hub/", b"5", {}, 400),
        ("/message_hub/", b"\x1f\x8bnonsense", {"Content-Encoding": "gzip"}, 400),
        ("/message_hub/", b"[]", {"Content-Encoding": "br"}, 415),
        ("/message_hub/", b"a=1", {"Content-Type": "application/x-www-form-urlencoded"}, 400),
        ("/message_hub/", b"[{}]", {"Content-Type": "text/plain"}, 415),
        ("/message_hub/", b"[]", {"Content-Type": "application/json; charset=latin-1"}, 415),
        ("/message_hub/", json.dumps([message()]).encode(), {"Idempotency-Key": ""}, 400),
        ("/message_hub/", json.dumps([message()]).encode(), {"Idempotency-Key": "x" * 256}, 400),
        ("/message_hub/", json.dumps([message()]).encode(), {"Idempotency-Key": "ü"}, 400),
        ("/message_hub/", json.dumps([{**message(), "task_for": "nobody"}]).encode(), {}, 404),
        ("/message_hub/", json.dumps([message()] * 1001).encode(), {}, 413),
        ("/message_hub/", json.dumps([message()] * 101).encode(), {}, 413),
        ("/message_hub/", json.dumps([message(data="x" * (1 << 20))]).encode(), {}, 422),
        ("/message_hub/", json.dumps([message(**{f"f{i}": i for i in range(500)})]).encode(), {}, 422),
        ("/streams/nobody/messages", b"[{}]", {}, 404),
        ("/streams/meter.stream_out/messages", b"[{}]", {}, 404),
        ("/streams/meter.stream_in/messages", b"[{}]", {}, 422),
        ("/nowhere", b"[{}]", {}, 404),
        ("//message_hub/", b"[{}]", {}, 404),
        ("/livez", b"[{}]", {}, 405),
    ],
)
def test_every_refusal_is_in_the_envelope_and_stores_nothing(
    hub: Hub, path: str, body: bytes, headers: dict[str, str], status: int
) -> None:
    sent = {"Content-Type": "application/json", **headers}
    refusal(hub.client.post(path, "http://localhost", data=body, headers=sent), status)
    assert hub.stored() == 0


def test_the_wrong_method_is_told_the_right_one(hub: Hub) -> None:
    answer = hub.client.get("/message_hub/")
    refusal(answer, 405)
    assert "POST" in answer.headers["Allow"]


def test_a_body_that_is_too_large_is_refused_sent_plain_or_packed(redis_url: str) -> None:
    hub = Hub(redis_url, {"DATAFLOW_MAX_BODY_BYTES": "2000"})
    big = json.dumps([message(n) for n in range(50)]).encode()
    refusal(hub.post(big), 413)
    refusal(hub.post(gzip.compress(big), Content_Encoding="gzip"), 413)
    assert hub.stored() == 0


def test_a_stream_is_taken_directly_without_routing_fields(hub: Hub) -> None:
    answer = hub.post([{"x": 1}], "/streams/free.stream_in/messages")
    assert answer.status_code == 202
    assert answer.get_json()["data"]["accepted"] == 1
    assert hub.messages("free.stream_in") == [{"x": "1"}]
    assert hub.post([message()], "/streams/meter.stream_in/messages/").status_code == 202


def test_a_full_stream_says_how_full_and_when_to_come_again(hub: Hub) -> None:
    assert hub.post([message(n) for n in range(60)]).status_code == 202
    answer = hub.post([free_message(0), *(message(n) for n in range(60))])
    data = refusal(answer, 429)
    assert (data["stream"], data["depth"], data["max_len"]) == ("meter.stream_in", 60, 100)
    assert int(answer.headers["Retry-After"]) >= 1
    assert hub.depth() == 60
    assert hub.depth("free.stream_in") == 0
    assert hub.post([message(n) for n in range(40)]).status_code == 202


def test_the_same_key_gives_the_first_answer_and_stores_nothing(hub: Hub) -> None:
    first = hub.post([message(0), message(1)], Idempotency_Key="order 7")
    again = hub.post([message(0), message(1)], Idempotency_Key="order 7")
    assert (first.status_code, again.status_code) == (202, 202)
    assert first.get_json()["data"] == again.get_json()["data"]
    assert [a.headers["Idempotency-Replayed"] for a in (first, again)] == ["false", "true"]
    assert first.headers["Idempotency-TTL"] == "86400"
    assert hub.depth() == 2
    refusal(hub.post([message(0)], Idempotency_Key="order 7"), 422)
    assert hub.depth() == 2
    assert hub.post([message(0), message(1)], Idempotency_Key="order 8").headers["Idempotency-Replayed"] == "false"
    assert hub.post([message(0)], "/streams/meter.stream_in/messages", Idempotency_Key="order 7").status_code == 202
    assert hub.depth() == 5


@pytest.mark.parametrize(("old", "new"), [("n: int", "n: str"), ("task_for: meter", "task_for: other")])
def test_the_same_key_is_answered_when_the_flow_would_refuse_it_by_now(hub: Hub, old: str, new: str) -> None:
    first = hub.post([message(0)], Idempotency_Key="k")
    changed = loads(flow_text("redis://localhost").replace(old, new))
    hub.client = _client(hub, LiveNet(lambda: Net(changed, {"main": hub.redis})))
    again = hub.post([message(0)], Idempotency_Key="k")
    assert (again.status_code, again.headers["Idempotency-Replayed"]) == (202, "true")
    assert again.get_json()["data"] == first.get_json()["data"]
    assert hub.post([message(1)], Idempotency_Key="k").status_code in (404, 422)
    assert hub.post([message(0)]).status_code in (404, 422)
    assert hub.depth() == 1


def test_the_same_key_is_answered_when_the_stream_is_full_by_now(hub: Hub) -> None:
    assert hub.post([message(0)], Idempotency_Key="k").status_code == 202
    assert hub.post([message(n) for n in range(99)]).status_code == 202
    assert hub.post([message(0)], Idempotency_Key="k").headers["Idempotency-Replayed"] == "true"
    refusal(hub.post([message(0)]), 429)


def test_two_requests_with_one_key_at_the_same_time_store_once(hub: Hub) -> None:
    answers: list[Any] = []

    def send() -> None:
        answers.append(hub.app.test_client().post("/message_hub/", json=[message()], headers={"Idempotency-Key": "k"}))

    threads = [threading.Thread(target=send) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {answer.get_json()["data"]["ids"][0] for answer in answers} == {hub.entries()[0][1].decode()}
    assert sorted(answer.headers["Idempotency-Replayed"] for answer in answers) == ["false"] + ["true"] * 7
    assert hub.depth() == 1


def test_redis_that_is_away_is_told_and_nothing_was_stored(hub: Hub, own_redis: RedisServer) -> None:
    away = Hub(own_redis.url)
    own_redis.stop()
    answer = away.post([message()])
    assert refusal(answer, 503)["outcome"] == "not_stored"
    assert int(answer.headers["Retry-After"]) >= 1
    own_redis.start()
    assert away.post([message()]).status_code == 202
    assert away.depth() == 1


def test_redis_that_does_not_answer_leaves_the_outcome_unknown_and_a_key_makes_it_safe(own_redis: RedisServer) -> None:
    hub = Hub(own_redis.url)
    slow = Net(hub.flow, {"main": connect(own_redis.url, timeout_s=0.3)})
    live = LiveNet(lambda: slow)
    live.current()
    hub.client = _client(hub, live)
    assert hub.client.get("/version").status_code == 200, "it knows by now that the flow has no API keys"
    own_redis.freeze()
    answer = hub.post([message()], Idempotency_Key="k")
    own_redis.thaw()
    assert refusal(answer, 503)["outcome"] == "unknown"
    again = hub.post([message()], Idempotency_Key="k")
    assert again.status_code == 202
    assert hub.depth() == 1


def test_redis_at_its_memory_limit_refuses_without_storing() -> None:
    with RedisServer(settings={"maxmemory": "3mb"}) as server:
        hub = Hub(server.url)
        stored = 0
        for n in range(500):
            answer = hub.post([free_message(n, data="x" * 50_000)])
            if answer.status_code != 202:
                break
            stored += 1
        assert refusal(answer, 429)["outcome"] == "not_stored"
        assert hub.depth("free.stream_in") == stored > 0


def test_the_door_closes_before_the_memory_of_redis_is_full(own_redis: RedisServer) -> None:
    """What is inside needs room to get out; a request that was stored before is still answered as it was."""
    hub = Hub(own_redis.url)
    assert hub.post([message()], Idempotency_Key="k").status_code == 202
    used = read_memory(hub.redis).used
    call(hub.redis, "CONFIG", "SET", "maxmemory", int(used / 0.75))
    closed = Hub(own_redis.url)
    answer = closed.post([message()])
    assert refusal(answer, 429)["outcome"] == "not_stored"
    assert int(answer.headers["Retry-After"]) >= 1
    assert "of its memory limit" in (answer.json or {})["msg"]
    again = closed.post([message()], Idempotency_Key="k")
    assert (again.status_code, again.headers["Idempotency-Replayed"]) == (202, "true")
    ready = closed.client.get("/readyz")
    assert ready.status_code == 200
    assert (ready.json or {})["data"]["memory"]["main"]["door"] == "closed"
    call(hub.redis, "CONFIG", "SET", "maxmemory", int(used / 0.5))
    assert Hub(own_redis.url).post([message()]).status_code == 202
    assert hub.depth() == 2


def test_a_flow_that_is_not_applied_is_told(hub: Hub) -> None:
    call(hub.redis, "FLUSHALL")
    data = refusal(hub.post([message()]), 503)
    assert data["outcome"] == "not_stored"
    assert hub.stored() == 0


def test_a_bug_is_answered_in_the_envelope_and_logged(
    hub: Hub, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*_: Any) -> Any:
        raise ZeroDivisionError("oh")

    monkeypatch.setattr(hub.net, "append", broken)
    assert refusal(hub.post([message()]), 500)["outcome"] == "unknown"
    assert "ZeroDivisionError: oh" in caplog.text


def _client(hub: Hub, live: LiveNet) -> Any:
    from message_hub.app import create_app

    return create_app(live, hub.settings).test_client()


@pytest.fixture(scope="module")
def shared_hub(redis_server: RedisServer) -> Iterator[Hub]:
    """One application for all bodies of a property; its Redis is emptied first."""
    client = connect(redis_server.url)
    call(client, "FLUSHALL")
    yield Hub(redis_server.url)
    client.close()


fields = st.dictionaries(
    st.text(max_size=4) | st.sampled_from(["rec_id", "task_for", "function_type", "n", "ts", "ok", "flow", "_mid"]),
    st.recursive(
        st.none()
        | st.booleans()
        | st.integers()
        | st.floats()
        | st.text(max_size=5)
        | st.sampled_from(["meter", "score"]),
        lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=2), inner, max_size=2),
        max_leaves=3,
    ),
    max_size=6,
)
bodies = (
    st.binary(max_size=60)
    | st.text(max_size=60).map(lambda text: text.encode(errors="surrogatepass"))
    | st.lists(fields | st.integers() | st.just(message()), max_size=3).map(lambda value: json.dumps(value).encode())
    | (fields | st.just({"messages": [message()]})).map(lambda value: json.dumps(value).encode())
)
kinds = st.sampled_from(
    ["application/json", "application/x-ndjson", "text/plain", "application/json; charset=utf-16", "", "x"]
)


@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    body=bodies,
    kind=kinds,
    packing=st.sampled_from([None, "gzip", "identity", "zip"]),
    pack=st.booleans(),
    path=st.sampled_from(["/message_hub/", "/streams/free.stream_in/messages", "/streams/meter.stream_in/messages"]),
    key=st.none() | st.text(st.characters(codec="latin-1", exclude_characters="\r\n"), max_size=5),
)
def test_whatever_is_posted_is_stored_whole_or_refused_whole(
    shared_hub: Hub, body: bytes, kind: str, packing: str | None, pack: bool, path: str, key: str | None
) -> None:
    hub = shared_hub
    for stream in ("meter.stream_in", "free.stream_in"):
        call(hub.redis, "XTRIM", hub.keys.stream(stream).stream, "MAXLEN", 0)
    headers = {"Content-Type": kind}
    headers |= {} if packing is None else {"Content-Encoding": packing}
    headers |= {} if key is None else {"Idempotency-Key": key}
    answer = hub.client.post(path, data=gzip.compress(body) if pack else body, headers=headers)
    assert answer.status_code in (202, 400, 404, 413, 415, 422)
    if answer.status_code == 202:
        replayed = answer.headers.get("Idempotency-Replayed") == "true"
        assert hub.stored() == (0 if replayed else answer.get_json()["data"]["accepted"])
        for name in ("meter.stream_in", "free.stream_in"):
            hub.messages(name)
    else:
        refusal(answer, answer.status_code)
        assert hub.stored() == 0


def test_a_redis_that_refuses_to_write_is_told_apart_from_a_bug(redis_server: RedisServer) -> None:
    """As a replica does, which takes no writes."""
    with RedisServer() as replica:
        hub = Hub(replica.url)
        call(hub.redis, "REPLICAOF", "127.0.0.1", redis_server.port)
        answer = hub.post([message()])
        assert refusal(answer, 503)["outcome"] == "not_stored"
        assert "Retry-After" in answer.headers
