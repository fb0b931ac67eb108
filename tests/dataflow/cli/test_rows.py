"""Reading messages from files of every form, with the lines they stand on."""

from __future__ import annotations

import gzip
import io
from pathlib import Path
from typing import Any

import pytest

from dataflow.cli.rows import Form, Row, form_of, rows
from dataflow.cli.spool import digest, opened
from dataflow.errors import UserError


def read(text: str | bytes, form: Form) -> list[Row]:
    return list(rows(io.BytesIO(text.encode() if isinstance(text, str) else text), form))


@pytest.mark.parametrize(
    ("name", "content", "form"),
    [
        ("a.jsonl", b"", "jsonl"),
        ("a.NDJSON", b"", "jsonl"),
        ("a.csv", b"[1]", "csv"),
        ("a.tsv", b"", "tsv"),
        ("a.json", b' \n[{"a": 1}]', "json"),
        ("a.json", b'{"messages": [\n{"a": 1}]}', "json"),
        ("a.json", b'{"a": 1}\n{"a": 2}\n', "jsonl"),
        ("a.json", b'{\n"a": 1}', "json"),
        ("a.json", b'{"messages": [{"a": 1}]}', "json"),
        ("a.json", b'{"a": "' + b"x" * 10_000 + b'"}', "jsonl"),
        ("-", b"[]", "json"),
        ("-", b'{"a": 1}', "jsonl"),
        ("-", b"\xef\xbb\xbfa,b\n", "csv"),
        ("no suffix", b"a,b\n1,2", "csv"),
    ],
)
def test_what_a_file_holds_is_found_out(name: str, content: bytes, form: Form) -> None:
    file = io.BytesIO(content)
    assert form_of(name, file) == form
    assert file.tell() == 0


def test_json_lines() -> None:
    text = '\ufeff{"a": 1, "b": null}\n\n  {"a": "ü"}  \r\n{"a": true}'
    assert read(text, "jsonl") == [Row(1, {"a": 1, "b": None}), Row(3, {"a": "ü"}), Row(4, {"a": True})]


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        ("{", "not JSON"),
        ('{"a": NaN}', "NaN is no JSON"),
        ('{"a": 1, "a": 2}', "the name 'a' stands twice"),
        ("[1]", "not a list"),
        ("7", "not a whole number"),
        ("[" * 100_000, "nested far too deep"),
        ("\udcff", "not JSON"),
    ],
)
def test_a_bad_line_is_named_and_the_others_are_read(line: str, fault: str) -> None:
    text = b'{"a": 1}\n' + line.encode(errors="surrogateescape") + b'\n{"a": 2}\n'
    first, bad, last = read(text, "jsonl")
    assert (first.line, bad.line, last.line) == (1, 2, 3)
    assert bad.message is None and fault in bad.fault


@pytest.mark.parametrize("text", ['[{"a": 1}, {"a": 2}]', '{"messages": [{"a": 1}, {"a": 2}]}'])
def test_a_json_list_counts_its_items(text: str) -> None:
    assert read(text, "json") == [Row(1, {"a": 1}), Row(2, {"a": 2})]


def test_an_item_that_is_no_object_is_named() -> None:
    assert [row.fault != "" for row in read('[{"a": 1}, 7, [1]]', "json")] == [False, True, True]


def test_a_file_that_is_no_json_is_refused_whole() -> None:
    with pytest.raises(UserError, match="not JSON"):
        read("[1", "json")


def test_csv_with_quotes_and_lines_in_cells() -> None:
    text = 'a,b\n1,"x, ""y"""\n\n2,"two\nlines"\n3,\n'
    assert read(text, "csv") == [
        Row(2, {"a": "1", "b": 'x, "y"'}),
        Row(4, {"a": "2", "b": "two\nlines"}),
        Row(6, {"a": "3", "b": ""}),
    ]


def test_tsv() -> None:
    assert read("a\tb\n1\tx,y\n", "tsv") == [Row(2, {"a": "1", "b": "x,y"})]


def test_a_row_of_another_length_is_named() -> None:
    assert [row.fault for row in read("a,b\n1\n1,2\n1,2,3\n", "csv")] == [
        "1 cells where the header has 2", "", "3 cells where the header has 2",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (b"", "no header"),
        (b"a,a\n", "'a' twice"),
        (b"a,\n", "without a name"),
        (b"a,b\n\xff,1\n", "not UTF-8"),
        (b'a,b\n"1"x,2\n', "line 2: not CSV"),
    ],
)
def test_a_table_that_cannot_be_read_is_refused_whole(text: bytes, said: str) -> None:
    with pytest.raises(UserError, match=said):
        read(text, "csv")


def test_files_are_unpacked_and_read_twice(tmp_path: Path) -> None:
    plain, packed = tmp_path / "a.jsonl", tmp_path / "a.jsonl.gz"
    plain.write_bytes(b'{"a": 1}\n')
    packed.write_bytes(gzip.compress(b'{"a": 1}\n'))
    digests = []
    for path in (plain, packed):
        with opened(str(path)) as file:
            digests += [digest(file), digest(file)]
            assert file.read() == b'{"a": 1}\n'
    assert len(set(digests)) == 1


def test_stdin_is_read_to_its_end_first(monkeypatch: pytest.MonkeyPatch) -> None:
    stdin: Any = type("Stdin", (), {"buffer": io.BytesIO(b"a,b\n1,2\n")})()
    monkeypatch.setattr("sys.stdin", stdin)
    with opened("-") as file:
        digest(file)
        assert list(rows(file, "csv")) == [Row(2, {"a": "1", "b": "2"})]


@pytest.mark.parametrize(
    "make", [lambda path: None, lambda path: path.mkdir(), lambda path: path.write_bytes(b"no gzip")]
)
def test_a_file_that_cannot_be_read_is_said(tmp_path: Path, make: Any) -> None:
    path = tmp_path / "a.gz"
    make(path)
    with pytest.raises(UserError, match="cannot read"), opened(str(path)) as file:
        digest(file)
