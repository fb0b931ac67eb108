"""Values reach the engine as they are, whatever they hold."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from dataflow.errors import UserError
from dataflow.warehouse import ROWS_FORMAT, read_rows
from sync.warehouse.chdb import ChdbWarehouse
from sync.warehouse.parameters import bind

TEXT = st.text(st.characters(codec="utf-8"), max_size=20) | st.sampled_from(
    ["'", "\\", "\\'", "\t\n\r\0", "\\N", "NULL", "{a:String}"]
)


@pytest.mark.integration
@given(
    text=TEXT, texts=st.lists(TEXT, max_size=4), number=st.none() | st.integers(-(2**63), 2**63 - 1), real=st.floats()
)
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@example(text="", texts=[], number=None, real=-0.0)
def test_parameters_come_back(
    warehouse: ChdbWarehouse, text: str, texts: list[str], number: int | None, real: float
) -> None:
    sent = {"text": text, "texts": texts, "number": number, "real": real, "yes": True}
    question = (
        "SELECT {text:String} AS text, {texts:Array(String)} AS texts, {number:Nullable(Int64)} AS number, "
        "{real:Float64} AS real, {yes:Bool} AS yes"
    )
    (found,) = read_rows(warehouse.ask(question, sent, ROWS_FORMAT))
    assert repr(found) == repr({**sent, "real": real or 0.0})  # the engine reads a negative zero as zero


@pytest.mark.parametrize("value", [{}, b"", object(), [[1]], {1}])
def test_other_values_are_refused(value: Any) -> None:
    with pytest.raises(UserError, match="a parameter is a str, int, float, bool, None or a list"):
        bind({"a": value})
