"""Values at the places of a statement."""

from __future__ import annotations

from typing import Any

import pytest

from dataflow.clickhouse.literals import fill, literal
from dataflow.errors import UserError


@pytest.mark.parametrize(
    ("value", "type_", "expected"),
    [
        ("a'b\\c\n\0", "String", "'a\\'b\\\\c\\n\\0'"),
        (5, "UInt8", "5"),
        (-1.5, "Float64", "-1.5"),
        (True, "UInt8", "1"),
        (None, "Nullable(String)", "NULL"),
        ("2026-01-31", "Date", "CAST('2026-01-31' AS Date)"),
        ("5", "UInt8", "CAST('5' AS UInt8)"),
        (["a", None], "Array(Nullable(String))", "CAST(['a', NULL] AS Array(Nullable(String)))"),
        ([], "Array(String)", "CAST([] AS Array(String))"),
    ],
)
def test_literals(value: Any, type_: str, expected: str) -> None:
    assert literal(value, type_) == expected


def test_places_are_filled_and_nothing_else() -> None:
    statement = (
        "SELECT '{a:String}', \"{a:String}\", `{a:String}`, {a:String} -- {a:String}\n, /* {a:String} */ { a : String }"
    )
    assert fill(statement, {"a": "x"}) == (
        "SELECT '{a:String}', \"{a:String}\", `{a:String}`, 'x' -- {a:String}\n, /* {a:String} */ 'x'"
    )


def test_a_quote_inside_a_text_does_not_end_it() -> None:
    assert fill(r"SELECT 'it\'s {a:String}', 'it''s {a:String}', {a:String}", {"a": "x"}) == (
        r"SELECT 'it\'s {a:String}', 'it''s {a:String}', 'x'"
    )


def test_a_value_that_is_missing_or_of_no_known_kind() -> None:
    with pytest.raises(UserError, match=r"\{b:UInt8\}"):
        fill("SELECT {b:UInt8}", {"a": 1})
    with pytest.raises(UserError, match="dict"):
        fill("SELECT {b:UInt8}", {"b": {}})
