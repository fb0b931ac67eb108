"""Whatever stands in a flow file, loading it ends in a Flow or in a FlowError that points into the file."""

from __future__ import annotations

import json

from hypothesis import example, given, settings
from hypothesis import strategies as st

from dataflow.errors import FlowError
from dataflow.flow import shape
from dataflow.flow.load import loads
from dataflow.flow.sections import Section
from tests.dataflow.flow.bad_flows import BAD, HEAD, NET

WORDS = sorted(
    {key.name for part in vars(shape).values() if isinstance(part, Section) for key in part.keys}
    | {"a.stream_in", "a.stream_out", "w", "e", "hub", "warehouse", "warehouse.t", "main", "s2s", "s2ch", "m:f"}
    | {"in", "out", "embedded", "redis://h", "int?", "_mid", "list", "${X}", "${X:1}", "${", "<<", "interval", "date"}
)
SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.sampled_from(WORDS)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(WORDS), inner, max_size=5),
    max_leaves=25,
)
YAML_BITS = st.lists(
    st.sampled_from(
        [*WORDS, *"&*!|>%@`'\"#-?:,[]{}\n\t ~", ": ", "- ", "  ", "\n  ", "---\n", "...\n", "%YAML 9.9\n", "\\U"]
    )
    | st.text(max_size=3),
    max_size=40,
).map("".join)


def survives(text: str) -> None:
    try:
        loads(text, "flow.yml", {"X": "redis://:canary@h"})
    except FlowError as error:
        lines = text.splitlines() or [""]
        assert error.problems
        for problem in error.problems:
            assert 1 <= problem.line <= len(lines) + 1
            assert problem.column >= 1
            assert "\n" not in str(problem)
            str(problem).encode()
            assert "canary" not in str(problem)


@given(st.text())
@settings(deadline=None)  # the scanner looks far ahead for the end of what might be a key
@example("%YAML 1." + "9" * 5000 + "\n---\na: b")
@example('"\\UFFFFFFFF"')
@example("a: " + "9" * 5000)
@example("[" * 5000)
@example("{a: " * 5000)
@example("? " * 5000)
@example("- " * 5000)
@example("&a [*a]")
@example("\ufeff\ufeff")
@example("\r\n\x85\u2028!")
def test_any_text(text: str) -> None:
    survives(text)


@given(YAML_BITS)
def test_bits_of_yaml(text: str) -> None:
    survives(text)


@given(VALUES)
def test_any_values(value: object) -> None:
    survives(json.dumps(value))


@given(st.fixed_dictionaries({}, optional={key.name: VALUES for key in shape.FILE.keys}))
@settings(max_examples=300)
def test_any_values_in_the_sections_of_a_flow(value: object) -> None:
    survives(json.dumps(value))


SOUND = HEAD + NET
EDITS = st.tuples(st.integers(0, len(SOUND)), st.integers(0, 12), st.sampled_from(["", *WORDS, *"{}[]:,&*!\n "]))


@given(st.lists(EDITS, min_size=1, max_size=4), st.sampled_from([SOUND, *(bad.text for bad in BAD)]))
@settings(max_examples=300)
def test_a_flow_file_under_random_edits(edits: list[tuple[int, int, str]], text: str) -> None:
    for start, length, word in edits:
        text = text[:start] + word + text[start + length :]
    survives(text)
