"""Rows become typed columns; the others are refused with the column, its type and the reason."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from sync.sink import Refusal, Row
from sync.sinks.clickhouse.plan import Plan, Planned, Rest
from sync.sinks.clickhouse.typing import Block, Typed, type_rows

MID = Planned("_mid", "String")


def plan(*columns: Planned, rest: Rest = "refuse") -> Plan:
    return Plan((MID, *columns), rest)


def row(mid: str = "m", *nulls: str, **fields: str) -> Row:
    flat = [b"_mid", mid.encode(), b"_path", b"hub@1"]
    for name, value in fields.items():
        flat += [name.encode(), value.encode()]
    return [*flat, b"_null", json.dumps(nulls).encode()] if nulls else flat


def stored(typed: Typed) -> dict[int, dict[str, Any]]:
    """Row index -> column -> value."""
    return {
        index: {name: values[at] for (name, _), values in zip(block.columns, block.values, strict=True)}
        for block in typed.blocks
        for at, index in enumerate(block.rows)
    }


def reasons(typed: Typed) -> dict[int, tuple[str, str]]:
    return {index: (why.field, why.reason) for index, why in typed.refused.items()}


def test_a_batch_of_one_shape_is_one_block() -> None:
    typed = type_rows([row("m0", a="1"), row("m1", a="2")], plan(Planned("a", "UInt8")))
    assert typed.size == 2
    (block,) = typed.blocks
    assert block.columns == (("_mid", "String"), ("a", "UInt8"))
    assert [list(values) for values in block.values] == [[b"m0", b"m1"], [1, 2]]
    assert list(block.mids) == [b"m0", b"m1"]
    assert list(block.rows) == [0, 1]


def test_one_bad_value_costs_one_row() -> None:
    typed = type_rows([row(a="1"), row(a="300"), row(a="3")], plan(Planned("a", "UInt8")))
    assert typed.refused == {1: Refusal("a", "UInt8", "'300' is out of range: 0 ... 255")}
    assert {index: found["a"] for index, found in stored(typed).items()} == {0: 1, 2: 3}


def test_the_first_column_that_does_not_fit_is_named() -> None:
    typed = type_rows([row(a="x", b="y")], plan(Planned("b", "Bool"), Planned("a", "UInt8")))
    assert reasons(typed)[0][0] == "b"


def test_null_goes_where_null_may_go() -> None:
    columns = plan(Planned("a", "Nullable(UInt8)"), Planned("b", "UInt8", optional=True))
    typed = type_rows([row("m0", "a", b="1"), row("m1", "b", a="1")], columns)
    assert stored(typed)[0]["a"] is None
    assert reasons(typed) == {1: ("b", "the field is null, and the column takes no null")}


def test_a_missing_field_is_null_or_refused() -> None:
    columns = plan(Planned("a", "Nullable(UInt8)"), Planned("b", "UInt8"))
    typed = type_rows([row(b="1"), row(a="1")], columns)
    assert stored(typed)[0] == {"_mid": b"m", "a": None, "b": 1}
    assert reasons(typed) == {1: ("b", "the field is missing, and the column has no DEFAULT")}


def test_a_missing_field_is_left_to_the_default() -> None:
    columns = plan(Planned("a", "UInt8", optional=True), Planned("b", "Nullable(UInt8)", optional=True))
    typed = type_rows(
        [row("m0", a="1", b="2"), row("m1", b="3"), row("m2"), row("m3", a="4", b="5"), row("m4")], columns
    )
    assert [(sorted(name for name, _ in block.columns), list(block.rows)) for block in typed.blocks] == [
        (["_mid", "a", "b"], [0, 3]),
        (["_mid", "b"], [1]),
        (["_mid"], [2, 4]),
    ]


def test_a_null_is_no_missing_field() -> None:
    typed = type_rows([row("m0", "b")], plan(Planned("b", "Nullable(UInt8)", optional=True)))
    assert stored(typed)[0]["b"] is None


def test_a_field_that_is_null_and_has_a_value_is_refused() -> None:
    typed = type_rows([row("m0", "a", a="1")], plan(Planned("a", "Nullable(UInt8)")))
    assert reasons(typed) == {0: ("a", "the field is null and has a value too")}


def test_a_message_without_an_id_is_refused() -> None:
    typed = type_rows(
        [[b"a", b"1"], row(a="1")], Plan((Planned("_mid", "String", optional=True), Planned("a", "UInt8")), "drop")
    )
    assert reasons(typed) == {0: ("_mid", "the message has no id")}


def test_a_field_without_a_column_is_refused() -> None:
    typed = type_rows([row(a="1"), row(a="1", z="1"), row("m2", "y", a="1")], plan(Planned("a", "UInt8")))
    reason = "the table has no column of that name that can be written"
    assert reasons(typed) == {1: ("z", reason), 2: ("y", reason)}


def test_a_field_without_a_column_goes_to_extra() -> None:
    rows = [row(a="1"), row(a="1", z='"ü', y=""), row("m2", "x", "a0", a="1")]
    typed = type_rows(rows, plan(Planned("a", "UInt8"), rest="extra"))
    extras = {index: json.loads(found["_extra"]) for index, found in stored(typed).items()}
    assert extras == {0: {}, 1: {"z": '"ü', "y": ""}, 2: {"x": None, "a0": None}}


def test_bytes_that_are_no_text_go_to_string_columns_but_not_to_extra() -> None:
    rows: list[Row] = [
        [b"_mid", b"m", b"a", b"\xff"],
        [b"_mid", b"m", b"a", b"", b"z", b"\xff"],
        [b"_mid", b"m", b"a", b"", b"\xff", b""],
    ]
    typed = type_rows(rows, plan(Planned("a", "String"), rest="extra"))
    assert stored(typed)[0]["a"] == b"\xff"
    assert [reasons(typed)[index][0] for index in (1, 2)] == ["_extra", "_extra"]


def test_a_projection_drops_the_rest() -> None:
    typed = type_rows([row(a="1", z="1")], plan(Planned("a", "UInt8"), rest="drop"))
    assert stored(typed) == {0: {"_mid": b"m", "a": 1}}


def test_our_own_fields_are_no_rest() -> None:
    fields = [*row(a="1"), b"_attempt", b"2"]
    assert type_rows([fields], plan(Planned("a", "UInt8"))).refused == {}
    typed = type_rows([fields], plan(Planned("a", "UInt8"), Planned("_path", "String")))
    assert stored(typed)[0]["_path"] == b"hub@1"


def test_rows_left_out_are_neither_stored_nor_refused() -> None:
    typed = type_rows(
        [row("m0", a="x"), row("m1", a="1"), row("m2", a="y"), row("m3", a="2")], plan(Planned("a", "UInt8")), {0, 3}
    )
    assert list(stored(typed)) == [1]
    assert list(typed.refused) == [2]


def test_no_rows_are_no_block() -> None:
    assert type_rows([], plan(Planned("a", "UInt8"))).blocks == ()
    assert type_rows([row(a="x")], plan(Planned("a", "UInt8"))).blocks == ()


def test_a_block_without_some_of_its_rows() -> None:
    (block,) = type_rows([row("m0", a="1"), row("m1", a="2"), row("m2", a="3")], plan(Planned("a", "UInt8"))).blocks
    rest = block.without({b"m0", b"m2"})
    assert (list(rest.rows), list(rest.mids), [list(v) for v in rest.values]) == ([1], [b"m1"], [[b"m1"], [2]])


def shape(block: Block) -> str:
    """A block, whatever kinds of sequences it is made of; NaN equals NaN."""
    return repr((block.columns, [list(values) for values in block.values], list(block.rows), list(block.mids)))


VALUES = st.one_of(st.none(), st.sampled_from(["1", "300", "x", "", "nan", "true", "-0"]))


@settings(deadline=None)
@given(st.lists(st.fixed_dictionaries({}, optional={"a": VALUES, "b": VALUES, "z": VALUES}), max_size=12))
def test_what_becomes_of_a_row_does_not_depend_on_its_neighbours(messages: list[dict[str, str | None]]) -> None:
    """The fast ways through a batch decide as the slow ones do, and deciding again changes nothing."""
    columns = plan(Planned("a", "Nullable(UInt8)"), Planned("b", "Float64", optional=True), rest="extra")
    rows = [
        row(
            f"m{n}",
            *(name for name, value in fields.items() if value is None),
            **{k: v for k, v in fields.items() if v is not None},
        )
        for n, fields in enumerate(messages)
    ]
    together = type_rows(rows, columns)
    for index, fields in enumerate(rows):
        alone = type_rows([fields], columns)
        assert alone.refused.get(0) == together.refused.get(index)
        assert repr(stored(alone).get(0)) == repr(stored(together).get(index))
    again = type_rows(rows, columns, together.refused.keys())
    assert again.refused == {}
    assert [shape(block) for block in again.blocks] == [shape(block) for block in together.blocks]
