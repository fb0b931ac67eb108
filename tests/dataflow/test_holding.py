"""Why a reader holds a stream: every reason, by what Redis was told."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from dataflow.flow.load import loads
from dataflow.holding import Hold, Scene, holds
from dataflow.store.alarms import Alarm
from dataflow.store.reading import Books, GroupView, LaneView, Process, StreamView

FLOW = loads(
    """
flow: net
connections:
  main: {redis: embedded}
  tasks: {mongo: "mongodb://127.0.0.1:1"}
streams: {a.stream_in: {}, b.stream_out: {}, c.stream_in: {keep: {messages: 10}}}
workers:
  work: {from: a.stream_in, to: b.stream_out, handler: "m:f"}
edges:
  always: {kind: s2s, from: b.stream_out, to: c.stream_in}
  timed: {kind: s2s, from: b.stream_out, to: c.stream_in, task: {minute: 5}}
  outside: {kind: s2s, from: b.stream_out, to: c.stream_in, task: external}
""",
    Path("flow.yml"),
)
NO_BOOKS = Books(True, 5, 5, {})


def group(name: str, **changes: Any) -> GroupView:
    """A reader with five messages to come."""
    view = GroupView(
        name=name, declared=True, exists=True, joined=0, undelivered=5, pending=0, retry_undelivered=0,
        retry_pending=0, parked=0, next_due_ms=None, handled=0, filtered=0, dead=0, released=0, lost=0, out=0,
        last_delivered="0-0", retry=NO_BOOKS, retry_exists=True, dead_letters=NO_BOOKS,
    )  # fmt: skip
    return replace(view, **changes)


def stream(reader: str) -> str:
    return "a.stream_in" if reader == "work" else "b.stream_out"


def process(kind: str, gone: bool = False, **facts: Any) -> Process:
    return Process(kind, f"{kind}@h.1", 1.0, gone, facts)


def alarm(kind: str, subject: str) -> Alarm:
    return Alarm(kind, subject, 0, f"text of {kind}")


def task(**told: str) -> Process:
    """A scheduler that leads, and what it says of `timed`."""
    return process("scheduler", leads=True, tasks={"timed": {"task": "timed", "state": "running", **told}})


def lane(**facts: Any) -> LaneView:
    blank: Mapping[str, Any] = {"paused": "", "holder": "", **facts}
    return LaneView(
        edge="always", lane="main", lineage="l", seq=1, epoch=1, position="0-0", open=None, frozen=0, settled=0,
        lease_left_ms=0, **blank,
    )  # fmt: skip


WORKER, SYNC = process("worker", name="work", processes=[1]), process("sync", edges={"always": "more"})

CASES: list[tuple[str, str, list[Process], list[Alarm], list[LaneView], str]] = [
    ("work", "behind", [WORKER], [], [], "works"),
    ("work", "no_process", [], [], [], "dataflow worker flow.yml work"),
    ("work", "no_process", [replace(WORKER, gone=True)], [], [], "no process"),
    ("work", "no_process", [process("worker", name="other")], [], [], "no process"),
    ("work", "handler", [WORKER], [alarm("handler", "work")], [], "text of handler"),
    ("work", "target_full", [WORKER], [alarm("full", "work")], [], "text of full"),
    ("work", "behind", [WORKER], [alarm("full", "other")], [], "works"),
    ("always", "behind", [SYNC], [], [lane()], "works"),
    ("always", "no_process", [], [], [lane()], "dataflow sync flow.yml"),
    ("always", "behind", [], [], [lane(holder="n1")], "works"),
    ("always", "paused", [SYNC], [], [lane(paused="schema drift")], "dataflow resume always"),
    ("always", "failing", [SYNC], [alarm("edge-failing", "always/retry")], [], "text of edge-failing"),
    ("always", "target_full", [process("sync", edges={"always": "full"})], [], [], "c.stream_in"),
    ("timed", "no_scheduler", [SYNC], [], [], "dataflow scheduler flow.yml"),
    ("timed", "no_scheduler", [SYNC, replace(task(), gone=True)], [], [], "no scheduler"),
    ("timed", "no_scheduler", [SYNC, process("scheduler", leads=False, tasks={})], [], [], "no scheduler"),
    ("timed", "behind", [SYNC, task()], [], [], "schedule"),
    ("timed", "task_paused", [SYNC, task(state="paused")], [], [], "dataflow task resume timed"),
    ("timed", "task_init", [SYNC, task(state="init", why="odd wish")], [], [], "(odd wish)"),
    ("timed", "task_disabled", [SYNC, task(state="disabled")], [], [], "is_enable"),
    ("timed", "task_expired", [SYNC, task(state="expired")], [], [], "later end"),
    ("timed", "no_process", [task()], [], [], "dataflow sync flow.yml"),
    ("timed", "target_full", [SYNC, task(last="full", error="c is full")], [], [], "c is full"),
    ("timed", "failing", [SYNC, task(last="away", error="no answer")], [], [], "no answer"),
    ("outside", "behind", [SYNC], [], [], "outside the flow file"),
]


@pytest.mark.parametrize(("reader", "reason", "processes", "alarms", "lanes", "word"), CASES)
def test_every_reason(
    reader: str, reason: str, processes: list[Process], alarms: list[Alarm], lanes: list[LaneView], word: str
) -> None:
    view = StreamView(stream(reader), NO_BOOKS, (group(reader),))
    (hold,) = holds(Scene(FLOW, lanes, processes, alarms), view)
    assert (hold.reader, hold.reason, hold.waiting) == (reader, reason, 5), hold
    assert word in hold.text


SCENE = Scene(FLOW, [], [SYNC], [])


def held(*groups: GroupView) -> list[Hold]:
    return list(holds(SCENE, StreamView("b.stream_out", NO_BOOKS, groups)))


def test_a_lost_group_and_a_reader_that_the_flow_no_longer_has() -> None:
    (lost,) = held(group("always", exists=False, undelivered=0))
    assert (lost.reason, "dataflow apply" in lost.text) == ("group_missing", True)
    (former,) = held(group("work"))
    assert (former.reason, "dataflow release b.stream_out/work" in former.text) == ("former", True)


def test_a_worker_to_which_too_much_comes_back() -> None:
    view = StreamView("a.stream_in", NO_BOOKS, (group("work", parked=60_000, retry_undelivered=40_000),))
    (hold,) = holds(Scene(FLOW, [], [WORKER], []), view)
    assert (hold.reason, "100000 messages wait" in hold.text) == ("retrying", True)


def test_who_has_finished_or_is_not_declared_holds_nothing() -> None:
    assert held(group("always", undelivered=0), group("timed", declared=False)) == []


def test_those_who_stand_still_come_first_then_those_who_need_most() -> None:
    found = held(group("outside", undelivered=900), group("always", undelivered=7), group("timed"))
    assert [(hold.reader, hold.stands_still) for hold in found] == [
        ("timed", True), ("outside", False), ("always", False),
    ]  # fmt: skip
