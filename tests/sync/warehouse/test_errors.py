"""The engine's words for people."""

from __future__ import annotations

import pytest

from sync.warehouse.errors import EngineError


@pytest.mark.parametrize(
    ("said", "code", "text"),
    [
        (
            "Code: 60. DB::Exception: Table default.nope does not exist. (UNKNOWN_TABLE)",
            60,
            "Table default.nope does not exist. (UNKNOWN_TABLE)",
        ),
        (
            "Code: 164. DB::Exception: Code: 164. DB::Exception: No. (READONLY) (version 26.9.2.1). (READONLY)",
            164,
            "No. (READONLY)",
        ),
        ("Code: 62. DB::Exception: Syntax error:\n  SELECT\n  ^", 62, "Syntax error: SELECT ^"),
        ("something else", 0, "something else"),
    ],
)
def test_an_error_is_one_line_with_its_number(said: str, code: int, text: str) -> None:
    error = EngineError.read(said)
    assert (error.code, str(error)) == (code, text)
