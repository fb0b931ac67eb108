"""Several statements in one text."""

from __future__ import annotations

import pytest

from dataflow.warehouse.statements import split, without_comments


@pytest.mark.parametrize(
    ("text", "statements"),
    [
        ("SELECT 1", ["SELECT 1"]),
        ("CREATE DATABASE d;\nCREATE TABLE d.t (n Int8);\n", ["CREATE DATABASE d", "CREATE TABLE d.t (n Int8)"]),
        (";; ;SELECT 1;;", ["SELECT 1"]),
        ("", []),
        ("-- nothing; to do\n/* ; */ ;", []),
        ("-- a; b\nSELECT 1 -- c; d\n;# e;\nSELECT 2", ["-- a; b\nSELECT 1 -- c; d", "# e;\nSELECT 2"]),
        (r"SELECT 'a;''b\';', "
         '"c;", `d;`; SELECT 2', [r"SELECT 'a;''b\';', " '"c;", `d;`', "SELECT 2"]),
        ("SELECT $t$ ; $t$; SELECT $ 1", ["SELECT $t$ ; $t$", "SELECT $ 1"]),
        ("SELECT 'never closed; SELECT 2", ["SELECT 'never closed; SELECT 2"]),
        ("SELECT /* never closed; SELECT 2", ["SELECT /* never closed; SELECT 2"]),
        ("INSERT INTO t VALUES (';'); SELECT 1", ["INSERT INTO t VALUES (';')", "SELECT 1"]),
        ("INSERT INTO t FORMAT CSV\n1;2\n3;4", ["INSERT INTO t FORMAT CSV\n1;2\n3;4"]),
        ("INSERT INTO t FORMAT Values (1); SELECT 1", ["INSERT INTO t FORMAT Values (1)", "SELECT 1"]),
        ("INSERT INTO t SELECT 1 FORMAT Null; SELECT 1 FORMAT CSV; SELECT 2",
         ["INSERT INTO t SELECT 1 FORMAT Null", "SELECT 1 FORMAT CSV", "SELECT 2"]),
    ],
)  # fmt: skip
def test_semicolons_separate_where_they_are_neither_quoted_nor_commented(text: str, statements: list[str]) -> None:
    assert split(text) == statements


def test_a_statement_is_shown_without_its_comments() -> None:
    assert without_comments("-- why\nSELECT '--' /* x */") == "SELECT '--'"
