"""Cycles of streams: which there are, who is inside, where they are closed, how they are drawn."""

from __future__ import annotations

from pathlib import Path

import pytest

from dataflow.errors import FlowError
from dataflow.flow.graph import mermaid, text
from dataflow.flow.load import loads
from dataflow.flow.spec import Cycle

RING = """\
flow: ring
streams:
  a.stream_in: {accepts: {task_for: t, function_type: f}}
  a.stream_out:
  b.stream_in:
  b.stream_out:
  done.stream_in: {keep: {hours: 1}}
workers:
  one: {from: a.stream_in, to: a.stream_out, handler: "m:f"}
  two: {from: b.stream_in, to: b.stream_out, handler: "m:f"}
edges:
  on: {kind: s2s, from: a.stream_out, to: b.stream_in}
  again:
    {kind: s2s, from: b.stream_out, max_hops: 8, route: {by: state, cases: {done: done.stream_in}, other: a.stream_in}}
"""
FLOW = loads(RING, environ={})


def test_a_cycle_knows_its_streams_who_is_inside_and_where_it_is_closed() -> None:
    cycle = Cycle(
        ("a.stream_in", "a.stream_out", "b.stream_in", "b.stream_out"),
        frozenset({"one", "two", "on", "again"}),
        frozenset({"a.stream_in"}),
    )
    assert [FLOW.cycle(name) for name in FLOW.streams] == [cycle] * 4 + [None]


def test_streams_before_and_behind_a_cycle_are_not_on_it() -> None:
    before = "  x.stream_in: {accepts: {task_for: t, function_type: g}}\n"
    entry = "  enter: {kind: s2s, from: x.stream_in, to: b.stream_in}\n"
    flow = loads(RING.replace("  a.stream_out:\n", "  a.stream_out:\n" + before, 1) + entry, environ={})
    assert flow.cycle("x.stream_in") is None
    cycle = flow.cycle("b.stream_in")
    assert cycle is not None
    assert "enter" not in cycle.steps


def test_no_hop_on_a_cycle_keeps_the_message_id() -> None:
    assert not any(FLOW.keeps_mid(name) for name in ("one", "two", "on", "again"))


def test_a_cycle_is_refused_until_an_edge_says_how_long(tmp_path: Path) -> None:
    with pytest.raises(FlowError) as refused:
        loads(RING.replace("max_hops: 8, ", ""), environ={})
    (problem,) = refused.value.problems
    assert problem.code == "F407"
    assert "max_hops" in problem.fix


def test_each_of_two_cycles_needs_its_own_limit() -> None:
    shortcut = "  back: {kind: s2s, from: a.stream_out, to: a.stream_in}\n"
    with pytest.raises(FlowError, match="F407"):
        loads(RING + shortcut, environ={})
    both = loads(RING + shortcut.replace("}", ", max_hops: 4}"), environ={})
    cycle = both.cycle("a.stream_out")
    assert cycle is not None
    assert cycle.closing == {"a.stream_in"}


def test_the_graph_tells_where_a_cycle_is_closed() -> None:
    assert "b.stream_out -- again (s2s, at most 8 hops): all others --> a.stream_in\n" in text(FLOW)
    assert "b.stream_out -- again (s2s): state = done --> done.stream_in\n" in text(FLOW)
    assert '-->|"again (s2s#44; at most 8 hops): all others"| n1' in mermaid(FLOW)
