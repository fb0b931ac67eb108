"""Hints that the broker does not take, on every redis-server of this machine."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from redis.exceptions import ResponseError

from dataflow.store.keys import Keys
from dataflow.store.lefthints import KEPT_S, MAX_ERROR, LeftHint, LeftHints
from dataflow.store.redis import Client, call, connect

pytestmark = pytest.mark.integration

KEYS = Keys("f")


@pytest.fixture
def client(both_redis_url: str) -> Iterator[Client]:
    with connect(both_redis_url) as client:
        yield client
        call(client, "CONFIG", "SET", "maxmemory", 0)


def test_who_takes_them_is_the_only_one(client: Client) -> None:
    left = LeftHints(client, KEYS)
    left.leave("move", 1_800_000_000_000, "h1", 15)
    left.leave("archive", 7, "h2", 15)
    assert sorted(left.take(), key=lambda one: one.hint) == [
        LeftHint("move", "h1", 1_800_000_000_000),
        LeftHint("archive", "h2", 7),
    ]
    assert left.take() == []


def test_a_later_one_takes_the_place_of_an_earlier_one(client: Client) -> None:
    left = LeftHints(client, KEYS)
    for tick in range(3):
        left.leave("move", tick, f"h{tick}", 15)
    assert left.take() == [LeftHint("move", "h2", 2)]


def test_one_that_is_too_old_is_dropped(client: Client) -> None:
    left = LeftHints(client, KEYS)
    left.leave("move", 1, "h1", 0)
    assert left.take() == []
    assert call(client, "EXISTS", KEYS.left_hints) == 0


def test_the_end_of_its_run_is_told_for_a_while(client: Client) -> None:
    left = LeftHints(client, KEYS)
    assert left.end("h1") is None
    left.tell("h1", {"state": "failed", "read": 3, "error": "x" * 2 * MAX_ERROR})
    left.tell("h1", {"state": "empty", "read": 0})
    assert left.end("h1") == {"state": "empty", "read": 0, "error": ""}
    left.tell("h2", {"state": "failed", "error": "x" * 2 * MAX_ERROR})
    assert left.end("h2") == {"state": "failed", "error": "x" * MAX_ERROR}
    assert 0 < call(client, "PTTL", KEYS.left_end("h1")) <= KEPT_S * 1000


def test_all_of_it_works_at_the_memory_limit(client: Client) -> None:
    left = LeftHints(client, KEYS)
    call(client, "CONFIG", "SET", "maxmemory", 1)
    left.leave("move", 1, "h1", 15)
    assert left.take() == [LeftHint("move", "h1", 1)]
    left.tell("h1", {"state": "empty"})
    assert left.end("h1") == {"state": "empty", "error": ""}


def test_keys_of_another_type_are_left_alone(client: Client) -> None:
    left = LeftHints(client, KEYS)
    call(client, "SET", KEYS.left_hints, "something else")
    for step in (lambda: left.leave("move", 1, "h1", 15), left.take, lambda: left.tell("h1", {})):
        with pytest.raises(ResponseError, match="WRONGTYPE"):
            step()
    assert call(client, "GET", KEYS.left_hints) == b"something else"
    assert left.end("h1") is None
