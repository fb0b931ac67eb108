"""The rules on flows that no file could say so, or only at length."""

from __future__ import annotations

from dataclasses import replace

from dataflow.flow import cycles, rules
from dataflow.flow.findings import Finding, Findings
from dataflow.flow.judge import RULES, judge
from dataflow.flow.load import loads
from dataflow.flow.spec import Flow
from tests.dataflow.flow.bad_flows import HEAD, NET


def sound() -> Flow:
    return loads(HEAD + NET, environ={})


def test_a_sound_flow_breaks_no_rule() -> None:
    assert [list(rule(sound())) for rule in RULES] == [[] for _ in RULES]


def test_a_rule_speaks_of_a_flow_without_a_file() -> None:
    flow = sound()
    flow = replace(flow, workers={"w": replace(flow.workers["w"], source="a.stream_out")})
    (found,) = rules.workers_read_ins(flow)
    assert (found.code, found.path) == ("F306", ("workers", "w", "from"))


def test_a_name_that_could_not_be_read_breaks_no_rule() -> None:
    flow = sound()
    blank = replace(flow.workers["w"], source="", targets=("",))
    findings = Findings()
    findings.add(Finding("F103", ("workers", "w", "from")))
    judge(replace(flow, workers={"w": blank}), findings)
    assert [one.code for one in findings.found] == ["F103"]


def test_what_rests_on_a_wrong_value_is_an_echo() -> None:
    unread = Finding("F401", ("streams", "s"), because=(("workers", "w", "from"),))
    assert unread.echoes({("workers", "w", "from")})
    assert unread.echoes({("workers", "w")})
    assert unread.echoes({("workers",)})
    assert not unread.echoes({("workers", "w", "to"), ("workers", "v", "from"), ("streams", "s", "keep")})


def test_a_harmless_finding_mutes_nothing() -> None:
    findings = Findings()
    findings.add(Finding("F106", ("workers", "w"), harmless=True))
    findings.add_all([Finding("F103", ("workers", "w", "from"))])
    assert [one.code for one in findings.found] == ["F106", "F103"]


def test_a_chain_of_any_length_is_no_cycle() -> None:
    size = 2000
    streams = "".join(f"  s{n}: {{direction: in}}\n" for n in range(size))
    edges = "".join(f"  e{n}: {{kind: s2s, from: s{n}, to: s{n + 1}}}\n" for n in range(size - 1))
    flow = loads(
        f"flow: f\nstreams:\n{streams}  last: {{direction: in, keep: {{hours: 1}}}}\nedges:\n{edges}"
        f"  z: {{kind: s2s, from: s{size - 1}, to: last}}\n",
        environ={},
    )
    assert list(cycles.cycles_are_declared(flow)) == []


def test_every_cycle_is_found_once() -> None:
    flow = sound()
    edge = replace(flow.edges["e"], kind="s2s", connection=None, table=None)
    back = {name: replace(edge, name=name, to_stream="a.stream_in") for name in ("x", "y")}
    found = list(cycles.cycles_are_declared(replace(flow, edges=back)))
    assert [one.path for one in found] == [("edges", "x", "to"), ("edges", "y", "to")]
    assert found[0].values["cycle"] == "'a.stream_in' -> 'a.stream_out' -> 'a.stream_in'"


def test_two_ways_to_one_stream_are_no_cycle() -> None:
    text = """\
flow: f
streams: {a.stream_in: , b.stream_in: , c.stream_in: , d.stream_in: {keep: {hours: 1}}}
edges:
  ab: {kind: s2s, from: a.stream_in, to: b.stream_in}
  ac: {kind: s2s, from: a.stream_in, to: c.stream_in}
  bd: {kind: s2s, from: b.stream_in, to: d.stream_in}
  cd: {kind: s2s, from: c.stream_in, to: d.stream_in}
"""
    assert loads(text, environ={}).readers("a.stream_in") == ("ab", "ac")
