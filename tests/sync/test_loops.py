"""Continuous edges on a real server."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from dataflow.connections import resolve
from dataflow.flow.load import loads
from dataflow.flow.spec import Flow
from dataflow.store.alarms import alarms, clear_alarm
from dataflow.store.edgeruns import edge_runs
from dataflow.store.redis import call
from dataflow.testing.servers import RedisServer
from sync.edges import run_edge
from sync.loops import EdgeLoop, Loops
from sync.run import GOOD
from sync.servers import Servers
from tests.sync.lab import NET, Lab, until

pytestmark = pytest.mark.integration


class Running:
    """Loops of a lab's flow, stopped at the end."""

    def __init__(self, lab: Lab) -> None:
        self.lab = lab
        self.loops = Loops()
        self.servers = Servers(resolve(self._with_url(lab.flow)))

    def _with_url(self, flow: Flow) -> Flow:
        main = replace(flow.connections["main"], url=self.lab.redis_url)
        return replace(flow, connections=flow.connections | {"main": main})

    def keep(self, flow: Flow | None = None) -> None:
        self.loops.keep(flow or self.lab.flow, self.servers)


@pytest.fixture
def running(redis_url: str) -> Iterator[Running]:
    running = Running(Lab(redis_url))
    yield running
    running.loops.stop()
    running.servers.close()


def test_what_comes_is_moved(running: Running) -> None:
    running.keep()
    for _ in range(3):
        running.lab.fill(15)
        until(lambda: running.lab.waiting() == 0)
    running.lab.each_once()
    assert running.loops.modes() == {"move": "marker"}


def test_how_the_last_run_ended_outlives_the_loop(running: Running) -> None:
    lab = running.lab
    running.keep()
    lab.fill(5)
    until(lambda: lab.waiting() == 0)
    running.loops.stop()
    last = edge_runs(lab.redis, lab.keys)["move"]
    assert last.state in GOOD and (last.error, last.mode) == ("", "marker") and last.at_ms > 0

    call(lab.redis, "DEL", lab.keys.stream("b.stream_in").stream, lab.keys.stream("b.stream_in").counts)
    call(lab.redis, "SET", lab.keys.stream("b.stream_in").stream, "not a stream")
    lab.fill(5)
    running.keep()
    until(lambda: bool(edge_runs(lab.redis, lab.keys)["move"].error))
    running.loops.stop()
    last = edge_runs(lab.redis, lab.keys)["move"]
    assert last.state not in GOOD and last.mode == "marker", "what is known of the target stays"


def test_a_run_that_has_to_leave_the_edge_to_another_says_nothing_of_it(running: Running) -> None:
    lab = running.lab
    assert run_edge(running.lab.flow, "move", running.servers).state == "empty"
    before = edge_runs(lab.redis, lab.keys)
    lease = lab.lane().acquire("someone", 60_000, "line")
    assert run_edge(running.lab.flow, "move", running.servers).state == "held"
    assert edge_runs(lab.redis, lab.keys) == before and before["move"].state == "empty"
    lab.lane().release(lease)


def test_both_lanes_are_looked_after(running: Running) -> None:
    lab = running.lab
    running.keep()
    key = lab.keys.retry("a.stream_in", "move").stream
    call(lab.redis, "XADD", key, "*", "_mid", "back", "_attempt", "0", "_origin", "main/1-1", "n", "5")
    until(lambda: lab.arrived() == ["back"])


def test_an_edge_with_a_task_runs_only_when_asked(running: Running) -> None:
    lab = running.lab
    edge = replace(lab.edge, task={"second": "*/5"})
    running.keep(replace(lab.flow, edges={"move": edge}))
    assert running.loops.states() == {}


def test_messages_wait_for_company(running: Running) -> None:
    lab = running.lab
    patient = replace(lab.edge, min_batch=10, max_wait_s=0.4)
    flow = replace(lab.flow, edges={"move": patient})
    running.keep(flow)
    until(lambda: lab.lane_state() != {})
    began = time.monotonic()
    lab.fill(3)
    until(lambda: len(lab.arrived()) == 3)
    assert time.monotonic() - began > 0.35
    lab.fill(10)
    until(lambda: len(lab.arrived()) == 13)
    until(lambda: lab.waiting() == 0)
    assert lab.lane_state()["seq"] == "2", "the ten went as one batch"


def test_a_changed_flow_is_followed(running: Running) -> None:
    lab = running.lab
    running.keep()
    lab.fill(5)
    until(lambda: len(lab.arrived()) == 5)
    changed = loads(NET.replace("n: int", "n: str"))
    changed = replace(changed, connections=lab.flow.connections)
    running.keep(changed)
    lab.fill(1, n="many")
    until(lambda: len(lab.arrived()) == 6)
    assert lab.dead() == []
    running.keep(replace(changed, edges={}))
    assert running.loops.states() == {}
    assert "until_ms" not in lab.lane_state(), "its lease was released"


def test_an_unchanged_edge_is_left_alone(running: Running) -> None:
    running.keep()
    until(lambda: running.lab.lane_state() != {})
    running.keep(replace(running.lab.flow, digest="comments were added"))
    assert list(running.loops.states()) == ["move"]
    before = running.lab.lane_state()["nonce"]
    running.lab.fill(1)
    until(lambda: len(running.lab.arrived()) == 1)
    assert running.lab.lane_state()["nonce"] == before


def test_a_pause_is_respected_and_lifting_it_noticed(running: Running) -> None:
    lab = running.lab
    running.keep()
    until(lambda: lab.lane_state() != {})
    lab.lane().pause("for lunch")
    until(lambda: running.loops.states()["move"] == "paused")
    lab.fill(5)
    assert lab.arrived() == []
    lab.lane().resume()
    until(lambda: len(lab.arrived()) == 5)


def test_trouble_raises_an_alarm_and_its_end_clears_it(running: Running) -> None:
    lab = running.lab
    counts = lab.keys.stream("b.stream_in").counts
    running.keep()
    until(lambda: lab.lane_state() != {})
    call(lab.redis, "HSET", counts, "max_len", 0)
    lab.fill(5)
    until(lambda: [alarm.kind for alarm in alarms(lab.redis, lab.keys)] == ["edge-failing"])
    (alarm,) = alarms(lab.redis, lab.keys)
    assert (alarm.subject, alarm.text) == (
        "move",
        "full: stream 'b.stream_in' is full: 0 of 0 messages; nothing was written",
    )
    call(lab.redis, "HSET", counts, "max_len", 100)
    until(lambda: alarms(lab.redis, lab.keys) == [])
    lab.each_once()


def test_a_server_that_comes_back_is_noticed(own_redis: RedisServer) -> None:
    running = Running(Lab(own_redis.url))
    lab = running.lab
    running.keep()
    lab.fill(15)
    until(lambda: len(lab.arrived()) == 15)
    for end in (own_redis.stop, own_redis.kill):
        end()
        until(lambda: running.loops.states()["move"] in ("away", "unknown"))
        own_redis.start()
        until(lambda: running.loops.states()["move"] == "empty")
    lab.redis.connection_pool.disconnect()
    lab.fill(15)
    until(lambda: len(lab.arrived()) == 30)
    running.loops.stop()
    running.servers.close()
    lab.each_once()


def test_stopping_lets_go_of_the_edge(running: Running) -> None:
    lab = running.lab
    running.keep()
    lab.fill(35)
    until(lambda: len(lab.arrived()) > 0)
    running.loops.stop()
    assert "until_ms" not in lab.lane_state()
    lab.run()
    lab.each_once()


@pytest.fixture
def frozen_in_between(own_redis: RedisServer, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Running, EdgeLoop]]:
    """An edge whose stream was just moved, and whose server stands still when the other lane is looked after."""
    running = Running(Lab(own_redis.url))
    flow = running.lab.flow
    loop = EdgeLoop(flow, flow.edges["move"], running.servers)
    stream, returned = loop._lanes
    look = returned.turn

    def look_too_late() -> float:
        own_redis.freeze()
        return look()

    running.lab.fill(5)
    with monkeypatch.context() as patch:
        patch.setattr(returned, "turn", look_too_late)
        loop._turn()
    assert (stream.state, returned.state) == ("empty", "unknown")
    yield running, loop
    running.servers.close()


def test_who_stops_does_not_ask_again_where_a_lane_got_no_answer(
    own_redis: RedisServer, frozen_in_between: tuple[Running, EdgeLoop]
) -> None:
    """Else stopping takes a time-out for each lane, and a supervisor's patience ends."""
    running, loop = frozen_in_between
    loop.ask_to_stop()
    loop.start()
    assert loop.join(1)
    assert not loop.answers
    own_redis.thaw()
    assert "until_ms" in running.lab.lane_state()


def test_a_server_that_answers_again_is_asked_to_let_go(
    own_redis: RedisServer, frozen_in_between: tuple[Running, EdgeLoop]
) -> None:
    """Though one lane has not been looked after since: else the edge stands still until its lease runs out."""
    running, loop = frozen_in_between
    own_redis.thaw()
    loop.ask_to_stop()
    loop._turn()
    loop.start()
    assert loop.join(1)
    assert loop.answers
    assert "until_ms" not in running.lab.lane_state()


def test_who_stops_asks_nothing_more_after_an_alarm_that_got_no_answer(
    own_redis: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    running = Running(Lab(own_redis.url))
    flow = running.lab.flow
    loop = EdgeLoop(flow, flow.edges["move"], running.servers)

    def clear_too_late(*subject: Any) -> None:
        own_redis.freeze()
        loop.ask_to_stop()
        clear_alarm(*subject)

    monkeypatch.setattr("sync.loops.clear_alarm", clear_too_late)
    running.lab.fill(5)
    begun = time.monotonic()
    loop._turn()
    loop.start()
    assert loop.join(3)
    assert time.monotonic() - begun < 8, "one time-out of five seconds"
    assert not loop.answers
    own_redis.thaw()
    running.servers.close()


ELSEWHERE = """
flow: water
connections:
  home: {redis: "redis://127.0.0.1:1"}
  main: {redis: "redis://127.0.0.1:2"}
streams:
  z.stream_in: {on: home, keep: {messages: 1}}
  a.stream_in: {on: main}
  b.stream_in: {on: main, keep: {messages: 100000}, schema: {n: int}}
edges:
  move: {kind: s2s, from: a.stream_in, to: b.stream_in, batch: 10}
"""


def test_where_a_run_cannot_be_noted_the_lease_is_let_go(own_redis: RedisServer, redis_url: str) -> None:
    """Notes go to the home of the flow, which may be another server than that of the lease."""
    lab = Lab(redis_url, ELSEWHERE)
    urls = {"home": own_redis.url, "main": redis_url}
    at = {name: replace(one, url=urls[name]) for name, one in lab.flow.connections.items()}
    lab.flow = replace(lab.flow, connections=at)
    servers = Servers(resolve(lab.flow))
    loop = EdgeLoop(lab.flow, lab.flow.edges["move"], servers)
    own_redis.stop()
    lab.fill(5)
    loop._turn()
    assert len(lab.arrived()) == 5
    assert "until_ms" in lab.lane_state()
    loop.ask_to_stop()
    loop.start()
    assert loop.join(5)
    assert "until_ms" not in lab.lane_state()
    servers.close()
