"""A flow as a picture."""

from __future__ import annotations

from dataflow.flow.graph import mermaid, text
from dataflow.flow.load import loads

FLOW = loads(
    """\
flow: f
streams:
  all.stream_in: {accepts: {task_for: 'a "b"', function_type: x}}
  a.stream_in:
  a.stream_out:
  spare: {direction: out, keep: {hours: 1}}
workers:
  w: {from: a.stream_in, to: a.stream_out, handler: "m:f"}
edges:
  grade: {kind: s2s, from: all.stream_in, route: {by: kind, cases: {"a|\\n": a.stream_in}, other: a.stream_in}}
  store: {kind: s2ch, from: a.stream_out, to: warehouse.t}
""",
    environ={},
)


def test_mermaid_draws_every_kind_of_thing_in_its_shape() -> None:
    assert (
        mermaid(FLOW)
        == """\
flowchart LR
    n0{{"hub"}}
    n1(["all.stream_in"])
    n2(["a.stream_in"])
    n3["w"]
    n4(["a.stream_out"])
    n5[("warehouse.t")]
    n6(["spare"])
    n0 -->|"a #34;b#34; / x"| n1
    n2 --> n3
    n3 --> n4
    n1 -->|"grade (s2s): kind = a#124;#10;"| n2
    n1 -->|"grade (s2s): all others"| n2
    n4 -->|"store (s2ch)"| n5
"""
    )


def test_text_is_a_line_per_arrow() -> None:
    assert (
        text(FLOW)
        == """\
(hub) -- a "b" / x --> all.stream_in
a.stream_in --> [w]
[w] --> a.stream_out
all.stream_in -- grade (s2s): kind = a|\\n --> a.stream_in
all.stream_in -- grade (s2s): all others --> a.stream_in
a.stream_out -- store (s2ch) --> [(warehouse.t)]
"""
    )
