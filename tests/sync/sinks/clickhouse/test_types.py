"""ClickHouse's type names."""

from __future__ import annotations

import pytest

from sync.sinks.clickhouse.types import enum_codes, parse


@pytest.mark.parametrize(
    ("text", "name", "arguments", "nullable"),
    [
        ("UInt8", "UInt8", "", False),
        ("Nullable(UInt8)", "UInt8", "", True),
        ("LowCardinality(String)", "String", "", False),
        ("LowCardinality(Nullable(FixedString(3)))", "FixedString", "3", True),
        ("Nullable(DateTime64(6, 'Europe/Berlin'))", "DateTime64", "6, 'Europe/Berlin'", True),
        ("Enum8('a)' = 1, 'b' = 2)", "Enum8", "'a)' = 1, 'b' = 2", False),
        ("Array(Nullable(String))", "Array", "Nullable(String)", False),
        ("Map(String, UInt8)", "Map", "String, UInt8", False),
        ("something odd", "something odd", "", False),
    ],
)
def test_a_type_is_taken_apart(text: str, name: str, arguments: str, nullable: bool) -> None:
    parsed = parse(text)
    assert (parsed.text, parsed.name, parsed.arguments, parsed.nullable) == (text, name, arguments, nullable)


def test_enum_names_may_hold_anything() -> None:
    arguments = r"'y, z = 3' = 5, 'it\'s' = -2, 'back\\slash' = 1, 'line\nend' = 7, '' = 0"
    assert enum_codes(arguments) == {"y, z = 3": 5, "it's": -2, "back\\slash": 1, "line\nend": 7, "": 0}
