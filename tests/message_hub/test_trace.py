"""GET /messages/<mid>: each state that a message goes through, as a sender sees it."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dataflow.store.deadletters import DeadLetters
from dataflow.store.hop import Hop
from dataflow.store.outcomes import Dead, Drop, Out, Park
from dataflow.store.redis import call
from tests.message_hub.support import Hub, message

pytestmark = pytest.mark.integration

STREAM, WORKER, OUT = "meter.stream_in", "score", "meter.stream_out"


@pytest.fixture
def mid(hub: Hub) -> str:
    """The id of a message that was accepted a moment ago."""
    found: str = hub.post([message(7)]).get_json()["data"]["ids"][0]
    return found


@pytest.fixture
def hop(hub: Hub) -> Hop:
    """The worker's hop."""
    return Hop(hub.redis, hub.keys, STREAM, WORKER, [OUT])


def look(hub: Hub, mid: str, status: int = 200) -> dict[str, Any]:
    answer = hub.client.get(f"/messages/{mid}")
    assert answer.status_code == status, answer.text
    body = answer.get_json()
    assert (body["status"], body["name"]) == (status == 200, "message")
    found: dict[str, Any] = body["data"]
    return found


def places(found: dict[str, Any]) -> list[tuple[str, str, str]]:
    return [(place["state"], place["where"], place["reader"]) for place in found["places"]]


def test_it_waits_then_is_in_work_then_done_with_its_output(hub: Hub, hop: Hop, mid: str) -> None:
    assert places(look(hub, mid)) == [("waiting", STREAM, WORKER)]
    entries = hop.read("c", 10, 1)
    found = look(hub, f"{mid}/")
    assert (found["state"], places(found)) == ("in_work", [("in_work", STREAM, WORKER)])
    fields = [b"_mid", mid.encode(), b"_path", b"hub@1", b"rec_id", b"r7", b"score", b"0.5"]
    hop.finish("c", [(entries[0], Out([(0, fields)]))])
    found = look(hub, mid)
    assert found["state"] == "done"
    assert found["output"] == [{"where": OUT, "mid": mid, "message": {"rec_id": "r7", "score": 0.5}}]


def test_it_is_retrying_then_dead_with_the_reason_and_replayed_it_waits_again(hub: Hub, hop: Hop, mid: str) -> None:
    hop.finish("c", [(hop.read("c", 10, 1)[0], Park(1, 1))])
    assert look(hub, mid)["state"] == "retrying"
    hop.wake()
    assert look(hub, mid)["state"] == "retrying"
    hop.finish("c", [(hop.read("c", 10, 1)[0], Dead("error", "ZeroDivisionError: by zero", 5))])
    found = look(hub, mid)
    assert found["state"] == "dead"
    assert found["places"][0]["detail"] == "error: ZeroDivisionError: by zero"
    DeadLetters(hub.redis, hub.keys, STREAM, WORKER).replay_all()
    assert look(hub, mid)["state"] == "retrying"


def test_what_was_filtered_and_what_never_was_is_nowhere_but_the_answer_says_what_it_did_not_see(
    hub: Hub, hop: Hop, mid: str
) -> None:
    """No warehouse runs here, so the hub cannot be sure."""
    hop.finish("c", [(hop.read("c", 10, 1)[0], Drop())])
    for id_ in (mid, "nonsense"):
        found = look(hub, id_)
        assert (found["state"], found["places"]) == ("unknown", [])
        assert found["incomplete"] == ["warehouse.scores", "warehouse.kept"]


def test_an_entry_of_another_program_is_found_by_stream_and_entry_id(hub: Hub) -> None:
    entry = call(hub.redis, "XADD", hub.keys.stream(STREAM).stream, "*", "rec_id", "x", "n", "1").decode()
    assert look(hub, f"{STREAM}/{entry}")["state"] == "waiting"


def test_an_id_that_is_too_long_is_told(hub: Hub) -> None:
    look(hub, "x" * 1001, 404)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    mid=st.text(min_size=1, max_size=20)
    | st.from_regex(r"[0-7][0-9a-hjkmnp-tv-z]{25}-[0-9]{1,3}(\.[a-z]{1,3}\.[0-9])?", fullmatch=True)
    | st.from_regex(r"meter\.stream_in/[0-9]{1,25}-[0-9]{1,25}", fullmatch=True)
)
def test_whatever_is_asked_for_the_hub_answers(hub: Hub, mid: str) -> None:
    answer = hub.client.get("/messages/" + mid.encode(errors="replace").decode("latin-1"))
    assert answer.status_code in (200, 404)
    assert answer.get_json()["duration"] >= 0
