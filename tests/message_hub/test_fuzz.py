"""Anything sent to the hub: never a 5xx, and what is refused stores nothing."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.message_hub.support import Hub, message

pytestmark = pytest.mark.integration

UNHURRIED = settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20)
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3)
)
NAMES = st.sampled_from(["rec_id", "task_for", "function_type", "n", "flow", "ts", "ok", "_mid", "", "a.b"]) | st.text()
MESSAGES = st.dictionaries(NAMES, VALUES, max_size=8).map(lambda fields: {**message(), **fields})
PATHS = st.sampled_from(["/message_hub/", "/streams/meter.stream_in/messages", "/streams/free.stream_in/messages"])
ODD_PATHS = st.text(st.characters(min_codepoint=32, max_codepoint=0x2FF, exclude_characters="?#"), max_size=20).map(
    lambda text: f"/streams/{text}/messages"
)
HEADERS = st.dictionaries(
    st.sampled_from(
        ["Content-Type", "Content-Encoding", "Idempotency-Key", "X-API-Key", "Authorization", "X-Request-ID", "Origin"]
    ),
    st.sampled_from(
        ["application/json", "application/x-ndjson", "gzip", "Bearer x", "Basic eA==", "text/plain; charset=x"]
    )
    | st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=30),
    max_size=3,
)


def check(hub: Hub, before: int, answer: Any) -> None:
    """No error of ours; what was not accepted was not stored, and what was is there."""
    assert answer.status_code < 500, answer.text
    taken = len(answer.get_json()["data"]["ids"]) if answer.status_code == 202 else 0
    again = answer.headers.get("Idempotency-Replayed") == "true"
    assert hub.stored() == before + (0 if again else taken)


@given(path=PATHS | ODD_PATHS, body=st.lists(MESSAGES, max_size=3) | VALUES, headers=HEADERS)
@UNHURRIED
def test_json_of_any_shape(hub: Hub, path: str, body: Any, headers: Mapping[str, str]) -> None:
    before = hub.stored()
    sent = {"Content-Type": "application/json", **headers}
    check(hub, before, hub.client.post(path, data=json.dumps(body), headers=sent))


@given(path=PATHS, body=st.binary(max_size=80), headers=HEADERS)
@UNHURRIED
def test_bodies_of_any_bytes(hub: Hub, path: str, body: bytes, headers: Mapping[str, str]) -> None:
    before = hub.stored()
    check(hub, before, hub.client.post(path, data=body, headers=headers))


@given(mid=st.text(max_size=40))
@UNHURRIED
def test_ids_of_any_text(hub: Hub, mid: str) -> None:
    assert hub.client.get(f"/messages/{mid}").status_code < 500
