"""The client of the hub: chunks, keys, patience. What it does against a real hub is in tests/message_hub."""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import msgspec
import numpy as np
import pandas as pd
import pytest

from dataflow import client
from dataflow.client import CHUNK_BYTES, CHUNK_MESSAGES, Hub, HubBusy, HubRefused
from dataflow.errors import Fault, InvalidMessage, OutcomeUnknown, ServerAway, UnknownName

URL = "http://hub.test"
Answer = httpx.Response | Exception


def stored(request: httpx.Request, replayed: bool = False) -> httpx.Response:
    """What the hub answers when it has stored the messages of a request."""
    ids = [f"{request.headers['Idempotency-Key']}/{index}" for index in range(len(sent_in(request)))]
    headers = {"Idempotency-Replayed": "true" if replayed else "false"}
    return answer(202, {"accepted": len(ids), "ids": ids}, headers=headers)


def answer(status: int, data: dict[str, Any] | None = None, msg: str = "so it is", **response: Any) -> httpx.Response:
    body = {"status": status < 300, "msg": msg, "name": "message_hub", "duration": 0.1, "data": data or {}}
    return httpx.Response(status, json=body, **response)


def sent_in(request: httpx.Request) -> list[Any]:
    messages: list[Any] = msgspec.json.decode(request.content)
    return messages


class Wire:
    """Between client and nobody: answers from a list, then by storing; keeps the requests."""

    def __init__(self, *answers: Answer, rule: Callable[[httpx.Request], httpx.Response] = stored) -> None:
        self.requests: list[httpx.Request] = []
        self._answers = iter(answers)
        self._rule = rule

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        found = next(self._answers, None)
        if isinstance(found, Exception):
            raise found
        return self._rule(request) if found is None else found

    @property
    def keys(self) -> list[str]:
        return [request.headers["Idempotency-Key"] for request in self.requests]

    def hub(self, patience_s: float = 300.0) -> Hub:
        return Hub(URL, patience_s=patience_s, transport=httpx.MockTransport(self))


class Clock:
    """Time that passes only by sleeping."""

    def __init__(self) -> None:
        self.now_s = 0.0
        self.pauses: list[float] = []

    def monotonic(self) -> float:
        return self.now_s

    def sleep(self, pause_s: float) -> None:
        self.pauses.append(pause_s)
        self.now_s += pause_s


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(client, "time", made)
    return made


def numbered(count: int) -> Iterator[dict[str, Any]]:
    return ({"n": n} for n in range(count))


class TestChunks:
    def test_messages_go_in_chunks_in_order_and_their_ids_come_back_so(self) -> None:
        wire = Wire()
        sent = wire.hub().send(numbered(2 * CHUNK_MESSAGES + 1), idempotency_key="k")
        assert [len(sent_in(request)) for request in wire.requests] == [CHUNK_MESSAGES, CHUNK_MESSAGES, 1]
        assert [message["n"] for request in wire.requests for message in sent_in(request)] == list(range(2001))
        assert wire.keys == ["k.0", "k.1", "k.2"]
        assert sent.accepted == 2001
        assert sent.ids[999:1001] == ["k.0/999", "k.1/0"]

    def test_a_generator_is_consumed_as_it_is_sent(self) -> None:
        taken = itertools.count()
        seen: list[int] = []

        def endless() -> Iterator[dict[str, Any]]:
            for n in taken:
                seen.append(n)
                if n > 3 * CHUNK_MESSAGES:
                    raise KeyboardInterrupt
                yield {"n": n}

        wire = Wire()
        with pytest.raises(KeyboardInterrupt):
            wire.hub().send(endless())
        assert len(wire.requests) == 3
        assert len(seen) == 3 * CHUNK_MESSAGES + 2

    def test_no_chunk_is_larger_than_its_limit(self) -> None:
        wire = Wire()
        wire.hub().send({"text": "x" * 1_000_000} for _ in range(9))
        assert [len(sent_in(request)) for request in wire.requests] == [4, 4, 1]
        assert all(len(request.content) <= CHUNK_BYTES + 2 for request in wire.requests)

    def test_nothing_to_send_is_no_request(self) -> None:
        wire = Wire()
        assert wire.hub().send([]).accepted == 0
        assert wire.requests == []

    def test_one_message_may_come_without_a_list(self) -> None:
        wire = Wire()
        assert wire.hub().send({"n": 1}).accepted == 1
        assert sent_in(wire.requests[0]) == [{"n": 1}]

    def test_what_is_too_large_for_this_hub_is_sent_in_halves(self) -> None:
        wire = Wire(rule=lambda request: answer(413) if len(sent_in(request)) > 3 else stored(request))
        sent = wire.hub().send(numbered(10), idempotency_key="k")
        assert wire.keys == ["k.0", "k.0.0", "k.0.0.0", "k.0.0.1", "k.0.1", "k.0.1.0", "k.0.1.1"]
        taken = [request for request in wire.requests if len(sent_in(request)) <= 3]
        assert [message["n"] for request in taken for message in sent_in(request)] == list(range(10))
        assert sent.accepted == len(set(sent.ids)) == 10

    def test_one_message_that_is_too_large_is_refused(self) -> None:
        wire = Wire(rule=lambda request: answer(413, msg="the body is larger than 2 bytes"))
        with pytest.raises(HubRefused, match="larger than 2 bytes"):
            wire.hub().send(numbered(2))

    def test_progress_is_told_after_each_chunk(self) -> None:
        told: list[int] = []
        Wire().hub().send(numbered(CHUNK_MESSAGES + 5), progress=told.append)
        assert told == [CHUNK_MESSAGES, CHUNK_MESSAGES + 5]

    def test_a_stream_is_named_in_the_address(self) -> None:
        wire = Wire()
        wire.hub().send(numbered(1), stream="a.stream_in")
        wire.hub().send(numbered(1), stream="ä /in")
        paths = [request.url.raw_path for request in wire.requests]
        assert paths == [b"/streams/a.stream_in/messages", b"/streams/%C3%A4%20%2Fin/messages"]


class TestKeys:
    def test_each_call_has_a_key_of_its_own(self) -> None:
        wire = Wire()
        hub = wire.hub()
        hub.send(numbered(1))
        hub.send(numbered(1))
        assert len(set(wire.keys)) == 2

    def test_messages_that_were_stored_before_are_counted(self) -> None:
        wire = Wire(rule=lambda request: stored(request, replayed=request.headers["Idempotency-Key"] == "k.0"))
        sent = wire.hub().send(numbered(CHUNK_MESSAGES + 5), idempotency_key="k")
        assert (sent.accepted, sent.repeated) == (CHUNK_MESSAGES + 5, CHUNK_MESSAGES)


class TestPatience:
    @pytest.mark.parametrize(
        "trouble",
        [
            answer(429),
            answer(503, {"outcome": "not_stored"}),
            answer(503, {"outcome": "unknown"}),
            answer(500),
            httpx.Response(502, text="<html>bad gateway</html>"),
            httpx.ConnectError("refused"),
            httpx.ReadTimeout("slow"),
            httpx.RemoteProtocolError("disconnected"),
        ],
        ids=lambda trouble: str(getattr(trouble, "status_code", type(trouble).__name__)),
    )
    def test_what_may_pass_is_tried_again_with_the_same_key(self, clock: Clock, trouble: Answer) -> None:
        wire = Wire(trouble, trouble)
        assert wire.hub().send(numbered(2)).accepted == 2
        assert len(wire.keys) == 3
        assert len(set(wire.keys)) == 1
        assert len({request.content for request in wire.requests}) == 1

    def test_pauses_grow_up_to_a_limit(self, clock: Clock) -> None:
        Wire(*[answer(429)] * 8).hub().send(numbered(1))
        assert clock.pauses == [0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 5.0, 5.0]

    def test_the_hub_may_ask_for_a_longer_pause(self, clock: Clock) -> None:
        full = answer(429, headers={"Retry-After": "7"})
        Wire(full, answer(429), answer(429, headers={"Retry-After": "soon"})).hub().send(numbered(1))
        assert clock.pauses == [7.0, 0.2, 0.4]

    def test_each_chunk_has_the_whole_patience(self, clock: Clock) -> None:
        slow = [answer(429, headers={"Retry-After": "9"})]
        ok = httpx.Response(202, json={"data": {"ids": ["x"]}})
        wire = Wire(*slow, ok, *slow, ok)
        assert wire.hub(patience_s=10).send(numbered(CHUNK_MESSAGES + 1)).accepted == 2
        assert clock.now_s == 18

    @pytest.mark.parametrize(
        ("troubles", "error"),
        [
            ([answer(429)], HubBusy),
            ([answer(503, {"outcome": "not_stored"})], ServerAway),
            ([httpx.ConnectError("refused")], ServerAway),
            ([httpx.ReadTimeout("slow")], OutcomeUnknown),
            ([answer(500)], OutcomeUnknown),
            ([answer(503, {"outcome": "unknown"})], OutcomeUnknown),
            ([httpx.ReadTimeout("slow"), httpx.ConnectError("refused")], OutcomeUnknown),
            ([httpx.ReadTimeout("slow"), answer(429)], OutcomeUnknown),
            ([answer(503, {"outcome": "unknown"}), answer(503, {"outcome": "not_stored"})], OutcomeUnknown),
        ],
    )
    def test_after_the_deadline_the_error_says_what_became_of_the_messages(
        self, clock: Clock, troubles: list[Answer], error: type[Exception]
    ) -> None:
        with pytest.raises(error):
            Wire(*troubles, *[troubles[-1]] * 500).hub().send(numbered(1))
        assert 290 < clock.now_s <= 300

    def test_an_earlier_chunk_that_was_in_doubt_does_not_taint_a_later_one(self, clock: Clock) -> None:
        doubt = httpx.ReadTimeout("slow")
        ok = httpx.Response(202, json={"data": {"ids": ["x"]}})
        with pytest.raises(HubBusy):
            Wire(doubt, ok, *[answer(429)] * 500).hub().send(numbered(CHUNK_MESSAGES + 1))

    def test_a_hub_that_is_away_is_named_with_the_way_out(self) -> None:
        start = time.monotonic()
        with Hub("http://127.0.0.1:1", patience_s=0.2) as hub, pytest.raises(ServerAway) as caught:
            hub.send(numbered(1))
        assert "http://127.0.0.1:1" in str(caught.value)
        assert "dataflow up" in str(caught.value)
        assert time.monotonic() - start < 10


class TestRefusals:
    def test_faults_have_the_position_in_all_that_was_sent(self) -> None:
        error = {"index": 3, "field": "n", "code": "wrong_type", "text": "'x' is text"}
        wire = Wire(httpx.Response(202, json={"data": {"ids": []}}), answer(422, {"errors": [error], "more": 0}))
        with pytest.raises(InvalidMessage) as caught:
            wire.hub().send(numbered(CHUNK_MESSAGES + 5))
        assert caught.value.faults == [Fault(CHUNK_MESSAGES + 3, "n", "wrong_type", "'x' is text")]

    @pytest.mark.parametrize(
        ("refused", "error"),
        [
            (answer(404, msg="no stream is called 'x'"), UnknownName),
            (answer(422, msg="this Idempotency-Key was used before"), HubRefused),
            (answer(400, msg="not strict JSON"), HubRefused),
            (httpx.Response(200, text="hello"), HubRefused),
            (httpx.Response(308, headers={"Location": "/"}), HubRefused),
        ],
    )
    def test_what_cannot_get_better_is_raised_at_once(self, refused: httpx.Response, error: type[Exception]) -> None:
        wire = Wire(refused)
        with pytest.raises(error):
            wire.hub().send(numbered(1))
        assert len(wire.requests) == 1

    def test_something_else_at_that_address_is_told(self) -> None:
        with pytest.raises(HubRefused, match="HTTP 403 from something that is not a message hub"):
            Wire(httpx.Response(403, text="go away")).hub().send(numbered(1))


class TestValues:
    def test_scalars_of_numpy_and_pandas_are_sent_as_what_they_are(self) -> None:
        wire = Wire()
        row = {
            "a": np.float64(1.5), "b": np.int32(7), "c": np.bool_(True), "d": pd.NaT, "e": pd.NA, "f": None,
            "g": pd.Timestamp("2026-01-31T12:00:00"), "h": 10**30,
        }  # fmt: skip
        wire.hub().send([row])
        assert sent_in(wire.requests[0]) == [
            {"a": 1.5, "b": 7, "c": True, "d": None, "e": None, "f": None, "g": "2026-01-31T12:00:00", "h": 10**30}
        ]

    @pytest.mark.parametrize(
        ("value", "code"),
        [
            (math.nan, "wrong_type"),
            (math.inf, "wrong_type"),
            (np.float64("nan"), "wrong_type"),
            (object(), "wrong_type"),
            (10**5000, "wrong_type"),
            ("\ud800", "bad_unicode"),
        ],
        ids=["nan", "inf", "numpy", "object", "long", "surrogate"],
    )
    def test_what_json_cannot_hold_is_named_and_never_changed(self, value: Any, code: str) -> None:
        wire = Wire()
        with pytest.raises(InvalidMessage) as caught:
            wire.hub().send([{"n": 1}, {"n": None, "text": "null", "bad": value}])
        assert [(fault.index, fault.field, fault.code) for fault in caught.value.faults] == [(1, "bad", code)]
        assert wire.requests == []

    def test_what_is_no_message_is_named(self) -> None:
        with pytest.raises(InvalidMessage) as caught:
            Wire().hub().send([{"n": 1}, object()])  # type: ignore[list-item]
        assert [(fault.index, fault.code) for fault in caught.value.faults] == [(1, "not_a_dict")]


class TestFind:
    def test_where_a_message_is(self) -> None:
        wire = Wire(answer(200, {"state": "waiting"}))
        assert wire.hub().find("a.stream_in/5-0 #?") == {"state": "waiting"}
        assert wire.requests[0].url.raw_path == b"/messages/a.stream_in/5-0%20%23%3F"

    def test_one_that_is_nowhere_is_unknown(self) -> None:
        assert Wire(answer(404, {"state": "unknown"})).hub().find("x")["state"] == "unknown"

    @pytest.mark.parametrize(
        "trouble", [answer(503, {"errors": []}), httpx.ConnectError("refused"), httpx.ReadTimeout("slow")]
    )
    def test_nobody_to_ask(self, trouble: Answer) -> None:
        with pytest.raises(ServerAway):
            Wire(trouble).hub().find("x")

    def test_something_else_at_that_address_is_told(self) -> None:
        with pytest.raises(HubRefused):
            Wire(httpx.Response(404, text="?")).hub().find("x")
