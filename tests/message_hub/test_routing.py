"""Which stream takes which message, and every fault of those that none takes."""

from __future__ import annotations

from typing import Any

import pytest

from dataflow.errors import InvalidMessage, UnknownName
from dataflow.flow.load import loads
from dataflow.store.door import Alike, Outgoing
from message_hub.refusal import Refusal
from message_hub.routing import Router
from tests.message_hub.support import flow_text, free_message, message

ROUTER = Router(loads(flow_text("redis://localhost")))


def faults(messages: list[Any]) -> list[tuple[int, str, str]]:
    with pytest.raises(InvalidMessage) as caught:
        ROUTER.route(messages)
    return [(fault.index, fault.field, fault.code) for fault in caught.value.faults]


def test_messages_go_to_the_stream_that_accepts_them_in_order() -> None:
    entries = ROUTER.route([message(7, flow=1), free_message(8), message(9)])
    assert not isinstance(entries, Alike)
    assert [entry.stream for entry in entries] == ["meter.stream_in", "free.stream_in", "meter.stream_in"]
    assert entries[0].fields[-4:] == [b"n", b"7", b"flow", b"1.0"]


def test_messages_that_are_alike_stay_together() -> None:
    messages = [message(7, flow=1), message(8, flow=2.5)]
    names = [name.encode() for name in messages[0]]
    columns = [[b"r7", b"r8"], [b"meter"] * 2, [b"score"] * 2, [b"7", b"8"], [b"1.0", b"2.5"]]
    assert ROUTER.route(messages) == Alike("meter.stream_in", names, columns)
    assert ROUTER.target("meter.stream_in").take(messages) == Alike("meter.stream_in", names, columns)


def test_every_fault_of_every_message_is_named() -> None:
    messages = [
        message(0),
        message(1) | {"n": "one", "_mid": "mine"},
        {"rec_id": None, "task_for": 5, "x": {"y": 1}},
        "text",
        {**message(2), "function_type": "other"},
        {"rec_id": [1], "task_for": "meter", "function_type": "score", "n": 1},
        free_message(3, data=[1, 2]),
    ]
    assert faults(messages) == [
        (1, "n", "wrong_type"),
        (1, "_mid", "reserved"),
        (2, "rec_id", "null"),
        (2, "task_for", "wrong_type"),
        (2, "function_type", "missing"),
        (2, "x", "nested"),
        (3, "", "not_a_dict"),
        (4, "task_for", "no_stream"),
        (5, "rec_id", "nested"),
        (6, "data", "nested"),
    ]


def test_a_rec_id_is_asked_for_even_where_the_stream_declares_nothing() -> None:
    assert faults([free_message(0), free_message(1) | {"rec_id": None}]) == [(1, "rec_id", "null")]


def test_a_field_is_not_named_twice_for_one_fault() -> None:
    assert faults([{"task_for": "meter", "function_type": "score", "n": 1}]) == [(0, "rec_id", "missing")]


def test_messages_that_no_stream_accepts_are_not_found() -> None:
    with pytest.raises(Refusal) as caught:
        ROUTER.route([message(0), {**message(1), "task_for": "nobody"}])
    assert caught.value.status == 404
    assert "meter/score" in caught.value.msg
    assert [fault.index for fault in caught.value.faults] == [1]


def test_a_stream_taken_directly_asks_for_its_schema_only() -> None:
    entries = ROUTER.target("free.stream_in").take([{}, {"a": 1}])
    assert entries == [Outgoing("free.stream_in", []), Outgoing("free.stream_in", [b"a", b"1"])]
    with pytest.raises(InvalidMessage) as caught:
        ROUTER.target("meter.stream_in").take([message(), {"n": 1}, 5])
    assert [(fault.index, fault.code) for fault in caught.value.faults] == [(1, "missing"), (2, "not_a_dict")]


@pytest.mark.parametrize("name", ["meter.stream_out", "nobody", "", "a\ud800"])
def test_only_in_streams_are_taken_directly(name: str) -> None:
    with pytest.raises(UnknownName) as caught:
        ROUTER.target(name)
    assert str(caught.value).encode()
