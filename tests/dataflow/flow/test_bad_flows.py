"""Every mistake is reported with its code at its place, and nothing else is."""

from __future__ import annotations

import pytest

from dataflow.errors import FlowError, Problem
from dataflow.flow.codes import CODES
from dataflow.flow.load import loads
from tests.dataflow.flow.bad_flows import BAD, HEAD, NET, Bad


def problems(text: str, environ: dict[str, str] | None = None) -> list[Problem]:
    with pytest.raises(FlowError) as caught:
        loads(text, "some/flow.yml", environ or {})
    return caught.value.problems


@pytest.mark.parametrize("bad", BAD, ids=lambda bad: bad.name)
def test_a_mistake_gives_exactly_its_code_at_its_place(bad: Bad) -> None:
    found = problems(bad.text, bad.environ)
    assert [(one.code, (one.line, one.column)) for one in found] == [(bad.code, bad.place)], found


@pytest.mark.parametrize("bad", BAD, ids=lambda bad: bad.name)
def test_a_problem_names_the_file_the_thing_and_the_way_out(bad: Bad) -> None:
    (found,) = problems(bad.text, bad.environ)
    assert found.file == "some/flow.yml"
    assert found.text
    assert found.fix
    assert "\n" not in str(found)
    for words in bad.says:
        assert words in f"{found.text} - {found.fix}"


@pytest.mark.parametrize("bad", BAD, ids=lambda bad: bad.name)
def test_no_problem_shows_a_password(bad: Bad) -> None:
    assert "hunter2" not in "\n".join(str(found) for found in problems(bad.text, bad.environ))


def test_every_code_has_an_example() -> None:
    elsewhere = {"F001", "F002", "F003", "F501", "F502"}  # about the file itself and the code around it: test_load.py
    assert {bad.code for bad in BAD} | elsewhere == set(CODES)


def test_the_net_the_examples_start_from_is_sound() -> None:
    assert loads(HEAD + NET, environ={}).name == "f"


def test_all_problems_come_at_once_in_the_order_of_the_file() -> None:
    found = problems("""\
flow: Water
streams:
  a.stream_in: {max_len: many, on: mian}
  a.stream_out: {direction: in}
workers:
  w:
    from: a.stream_inn
    to: [a.stream_out, b]
    handler: w
    batch: 501
edges:
  w: {kind: s2ch, from: a.stream_out, to: warehouse.t, bach: 5, create_table: true}
  x: {kind: s2s, from: w}
surplus: 1
""")
    assert [(one.line, one.column, one.code) for one in found] == [
        (1, 7, "F106"),
        (3, 26, "F103"),
        (3, 36, "F202"),
        (4, 29, "F304"),
        (7, 11, "F201"),
        (8, 24, "F201"),
        (9, 14, "F109"),
        (10, 12, "F105"),
        (12, 3, "F406"),
        (12, 56, "F101"),
        (12, 79, "F408"),
        (13, 3, "F110"),
        (13, 24, "F302"),
        (14, 1, "F101"),
    ]


def test_an_error_reads_as_one_line_per_problem() -> None:
    with pytest.raises(FlowError) as caught:
        loads("flow: F\nstreams: {}\n", "flow.yml", {})
    assert str(caught.value).splitlines() == [
        "flow.yml:1:7: F106 'F' is not a legal name for a flow - use lower-case letters, digits, _ and -, beginning "
        "with a letter, at most 64",
        "flow.yml:2:10: F116 streams must not be empty - write at least one entry, or remove the key",
    ]


def test_a_mistake_is_not_reported_again_by_what_rests_on_it() -> None:
    """A misspelt source leaves its stream without a reader; only the spelling is to be corrected."""
    found = problems(HEAD + NET.replace("from: a.stream_in,", "from: a.stream_im,"))
    assert [one.code for one in found] == ["F201"]
