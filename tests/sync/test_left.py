"""Hints that the broker did not take are found and run, and how that ended is told."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from dataflow.store.declare import apply
from dataflow.store.door import Door, Outgoing
from dataflow.store.lefthints import LeftHints
from dataflow.store.redis import call
from sync.left import LeftRuns
from sync.room import Room
from tests.sync.lab import until

pytestmark = pytest.mark.integration

FLOW = """
flow: f
connections: {main: {redis: "%s"}}
streams:
  a.stream_in: {}
  b.stream_in: {keep: {messages: 1000}}
edges:
  move: {kind: s2s, from: a.stream_in, to: b.stream_in, task: external}
"""
LIVES_S = 15.0


@pytest.fixture
def room(redis_url: str, tmp_path: Path) -> Iterator[Room]:
    """A room whose edge has three messages to move."""
    path = tmp_path / "flow.yml"
    path.write_text(FLOW % redis_url)
    room = Room(path)
    apply(room.flow, room.redis)
    messages = [Outgoing("a.stream_in", [b"_mid", b"m%d" % n, b"_path", b"hub@1", b"n", b"1"]) for n in range(3)]
    Door(room.redis, room.keys).append(messages)
    yield room
    room.close()


@pytest.fixture
def left(room: Room) -> LeftHints:
    """Where schedulers leave hints."""
    return LeftHints(room.redis, room.keys)


@pytest.fixture
def runs(room: Room) -> Iterator[LeftRuns]:
    """At work."""
    stop = threading.Event()
    runs = LeftRuns(room, stop, concurrency=2)
    runs.start()
    yield runs
    stop.set()
    runs.join(10)


@pytest.mark.usefixtures("runs")
@pytest.mark.parametrize("limit", [0, 1])
def test_its_edge_runs_and_the_end_is_told_also_at_the_memory_limit(room: Room, left: LeftHints, limit: int) -> None:
    call(room.redis, "CONFIG", "SET", "maxmemory", limit)
    try:
        left.leave("move", 1_000, "h1", LIVES_S)
        until(lambda: left.end("h1") is not None)
    finally:
        call(room.redis, "CONFIG", "SET", "maxmemory", 0)
    end = left.end("h1") or {}
    assert (end["state"], end["read"], end["written"]) == ("empty", 3, 3)
    assert call(room.redis, "XLEN", room.keys.stream("b.stream_in").stream) == 3


@pytest.mark.usefixtures("runs")
def test_an_edge_that_is_not_there_is_told_and_hinders_no_other(left: LeftHints) -> None:
    left.leave("gone", 1_000, "h1", LIVES_S)
    left.leave("move", 1_000, "h2", LIVES_S)
    until(lambda: left.end("h1") is not None and left.end("h2") is not None)
    assert (left.end("h1") or {})["state"] == "unknown-edge"
    assert (left.end("h2") or {})["state"] == "empty"


def test_after_a_stop_nothing_is_taken(room: Room, left: LeftHints) -> None:
    stop = threading.Event()
    runs = LeftRuns(room, stop, concurrency=1)
    stop.set()
    runs.start()
    runs.join(10)
    left.leave("move", 1_000, "h1", LIVES_S)
    assert [one.hint for one in left.take()] == ["h1"]
