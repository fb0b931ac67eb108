"""`dataflow send` through a real hub."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from dataflow.store.outcomes import Drop
from tests.dataflow.cli.conftest import Site

pytestmark = pytest.mark.integration

FIELDS = ("--set", "task_for=t", "--set", "function_type=f")


def stored(site: Site, stream: str = "a.stream_in") -> list[dict[str, object]]:
    lines = site.run("tail", stream, "--from-start", "--no-follow").lines
    return [{name: value for name, value in line.items() if not name.startswith("_")} for line in lines]


def write(site: Site, name: str, text: str) -> str:
    (site.folder / name).write_text(text)
    return name


def table(rows: int) -> str:
    return "rec_id,n,x\n" + "".join(f"r{n},{n},{'' if n % 2 else n / 2}\n" for n in range(rows))


def test_a_table_is_read_by_the_schema_of_its_stream(site: Site, hub: str) -> None:
    answer = site.run("send", write(site, "a.csv", table(3)), *FIELDS, "--hub", hub)
    assert answer.code == 0
    assert answer.out.startswith(f"sent 3 messages in 1 requests to {hub} in ")
    assert stored(site) == [
        {"rec_id": "r0", "n": 0, "x": 0.0, "task_for": "t", "function_type": "f"},
        {"rec_id": "r1", "n": 1, "x": None, "task_for": "t", "function_type": "f"},
        {"rec_id": "r2", "n": 2, "x": 1.0, "task_for": "t", "function_type": "f"},
    ]


def test_json_lines_go_straight_to_a_stream(site: Site, hub: str) -> None:
    name = write(site, "a.jsonl", '{"rec_id": "r", "n": 1}\n{"rec_id": "s", "n": 2, "x": 0.5}\n')
    assert site.run("send", "flow.yml", name, "--stream", "a.stream_in", "--hub", hub).code == 0
    assert stored(site) == [{"rec_id": "r", "n": 1, "x": None}, {"rec_id": "s", "n": 2, "x": 0.5}]


def test_the_same_command_again_stores_nothing_twice(site: Site, hub: str) -> None:
    words = ("send", write(site, "a.csv", table(600)), *FIELDS, "--hub", hub, "--json")
    first, again = site.run(*words).json, site.run(*words).json
    assert (first["sent"], first["stored_before"], first["requests"]) == (600, 0, 2)
    assert (again["sent"], again["stored_before"]) == (600, 600)
    assert len(stored(site)) == 600
    assert site.run(*words[:-1], "--again", "--json").json["stored_before"] == 0
    assert len(stored(site)) == 1200


def test_another_content_is_sent(site: Site, hub: str) -> None:
    site.run("send", write(site, "a.csv", table(3)), *FIELDS, "--hub", hub)
    answer = site.run("send", write(site, "b.csv", table(4)), *FIELDS, "--hub", hub, "--json").json
    assert (answer["sent"], answer["stored_before"], len(stored(site))) == (4, 0, 7)


def test_bad_rows_are_named_with_their_lines_and_nothing_is_sent(site: Site, hub: str) -> None:
    name = write(site, "a.csv", "rec_id,n,x\nr,1,\nr,one,\nr,1\nr,2,half\n")
    answer = site.run("send", name, *FIELDS, "--hub", hub)
    assert (answer.code, answer.out) == (2, "")
    assert answer.err.splitlines() == [
        "line 3: n: one is text; the field is declared int",
        "line 4: 2 cells where the header has 3",
        "line 5: x: half is text; the field is declared float",
        "dataflow: 3 of 4 rows are bad; nothing was sent (--skip-bad leaves them out)",
    ]
    assert stored(site) == []
    answer = site.run("send", name, *FIELDS, "--hub", hub, "--skip-bad")
    assert answer.code == 0 and "(3 bad rows left out)" in answer.out
    assert [row["n"] for row in stored(site)] == [1]


def test_what_no_stream_accepts_is_not_sent(site: Site, hub: str) -> None:
    name = write(site, "a.jsonl", '{"rec_id": "r", "n": 1}\n')
    answer = site.run("send", name, "--hub", hub)
    assert answer.code == 2 and "--set task_for=..." in answer.err
    answer = site.run("send", name, "--set", "task_for=t", "--set", "function_type=g", "--hub", hub)
    assert answer.code == 2 and "no stream accepts t/g; accepted are: t/f" in answer.err


def test_the_refusal_of_a_hub_with_another_flow_is_told_by_lines(site: Site, hub: str) -> None:
    name = write(site, "a.csv", table(3))
    site.change("n: int,", "n: str,")
    answer = site.run("send", name, *FIELDS, "--hub", hub)
    assert answer.code == 2
    assert answer.err.startswith("line 2: n: ") and "does it run another one?" in answer.err
    assert site.store.view("a.stream_in").books.length == 0


def test_a_full_stream_and_the_same_command_later(site: Site, hub: str) -> None:
    site.put(*range(1000))
    words = ("send", write(site, "a.csv", table(1100)), *FIELDS, "--hub", hub, "--patience", "0", "--json")
    answer = site.run(*words)
    assert (answer.code, answer.out) == (5, "")
    assert answer.err.startswith("1000 messages were stored before")
    for group in ("one", "two"):
        hop = site.store.hop(group)
        hop.finish("c", [(entry, Drop()) for entry in hop.read("c", 2000, 0)])
    told = site.run(*words).json
    assert (told["sent"], told["stored_before"]) == (1100, 1000)
    assert [row["n"] for row in stored(site)] == list(range(1000, 1100))


def test_a_hub_that_is_away(site: Site) -> None:
    answer = site.run("send", write(site, "a.csv", table(3)), *FIELDS, "--hub", "http://127.0.0.1:1", "--patience", "0")
    assert (answer.code, answer.out) == (3, "")
    assert "0 messages were stored before" in answer.err and "cannot reach the hub" in answer.err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("missing.csv",), "cannot read missing.csv"),
        (("a.csv", "b.csv"), "name one file"),
        (("a.csv", "--set", "x"), "write FIELD=VALUE"),
        (("a.csv", "--stream", "nowhere"), "no stream 'nowhere'"),
        (("a.csv", "--stream", "b.stream_out"), "no `in` stream 'b.stream_out'"),
    ],
)
def test_what_cannot_be_done_is_said(site: Site, words: tuple[str, ...], said: str) -> None:
    write(site, "a.csv", table(1))
    answer = site.run("send", *words)
    assert answer.code == 2 and said in answer.err


@pytest.mark.acceptance
def test_stdin(site: Site, hub: str) -> None:
    command = [sys.executable, "-m", "dataflow", "send", "-", *FIELDS, "--hub", hub, "--json"]
    told = [
        subprocess.run(command, input=text, capture_output=True, text=True, cwd=site.folder, env=os.environ, check=True)
        for text in (table(3), '[{"rec_id": "r", "n": 7}]', table(3))
    ]
    assert [json.loads(done.stdout)["stored_before"] for done in told] == [0, 0, 3]
    assert [done.stderr for done in told] == ["", "", ""]
    assert len(stored(site)) == 4


def test_a_packed_file(site: Site, hub: str, tmp_path: Path) -> None:
    import gzip

    (tmp_path / "a.csv.gz").write_bytes(gzip.compress(table(3).encode()))
    assert site.run("send", "a.csv.gz", *FIELDS, "--hub", hub).code == 0
    assert len(stored(site)) == 3
