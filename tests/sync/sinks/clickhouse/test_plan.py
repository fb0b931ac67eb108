"""Which columns are written, and how duplicates are recognised: decided from what the server says."""

from __future__ import annotations

import json
from collections.abc import Sequence

import pytest

from dataflow.errors import TargetRefused
from sync.sinks.clickhouse.plan import Plan, Planned, make_plan
from sync.sinks.clickhouse.table import Column, Table, TableName, quote


def table(*columns: Column, engine: str = "MergeTree", window: int = 0, version: Sequence[int] = (26, 9)) -> Table:
    return Table(TableName("default", "t"), columns, engine, window, tuple(version))


MID = Column("_mid", "String")
EXTRA = Column("_extra", "String")


@pytest.mark.parametrize(
    ("described", "mode"),
    [
        (table(MID, window=100), "token"),
        (table(window=100), "token"),
        (table(MID, window=0), "readback"),
        (table(MID, window=100, version=(18, 16)), "readback"),
        (table(MID, window=100, version=(22, 1)), "readback"),
        (table(MID, window=100, version=(22, 2)), "token"),
        (table(window=0), "none"),
        (table(MID, engine="Log"), "none"),
        (table(MID, engine="ReplacingMergeTree"), "readback"),
        (table(Column("_mid", "UUID")), "none"),
        (table(Column("_mid", "String", "MATERIALIZED")), "none"),
        (table(Column("_mid", "LowCardinality(String)")), "readback"),
    ],
)
def test_the_mode_follows_from_the_table(described: Table, mode: str) -> None:
    assert described.mode == mode


@pytest.mark.parametrize(
    ("engine", "plain"),
    [("MergeTree", True), ("ReplicatedMergeTree", False), ("ReplacingMergeTree", False), ("Log", False)],
)
def test_which_tables_hold_what_was_inserted_row_by_row_and_note_tokens_in_a_file(engine: str, plain: bool) -> None:
    assert table(MID, engine=engine).is_plain == plain


def test_all_columns_that_can_be_written_are_planned() -> None:
    plan = make_plan(
        table(
            MID,
            Column("a", "UInt8"),
            Column("b", "String", "DEFAULT"),
            Column("c", "String", "MATERIALIZED"),
            Column("d", "String", "ALIAS"),
            Column("e", "String", "EPHEMERAL"),
        ),
        None,
    )
    assert plan.columns == (Planned("_mid", "String"), Planned("a", "UInt8"), Planned("b", "String", optional=True))
    assert plan.rest == "refuse"
    assert plan.has_mid


def test_extra_takes_what_has_no_column() -> None:
    plan = make_plan(table(MID, EXTRA), None)
    assert plan == Plan((Planned("_mid", "String"),), "extra")


@pytest.mark.parametrize("extra", [Column("_extra", "Nullable(String)"), Column("_extra", "String", "MATERIALIZED")])
def test_only_a_plain_string_can_be_extra(extra: Column) -> None:
    assert make_plan(table(MID, extra), None).rest == "refuse"


def test_columns_of_the_edge_are_a_projection() -> None:
    described = table(MID, EXTRA, Column("a", "UInt8"), Column("b", "Array(UInt8)"), Column("c", "String", "DEFAULT"))
    assert make_plan(described, ("c", "a")) == Plan(
        (Planned("_mid", "String"), Planned("c", "String", optional=True), Planned("a", "UInt8")), "drop"
    )


def test_a_projection_must_be_there() -> None:
    described = table(MID, Column("a", "UInt8"), Column("m", "String", "MATERIALIZED"))
    with pytest.raises(TargetRefused, match="no column 'm', 'z' that can be written"):
        make_plan(described, ("a", "m", "z"))


def test_a_type_that_cannot_be_written_is_named_at_once() -> None:
    with pytest.raises(TargetRefused, match=r"tags Array\(String\), kv Map\(String, String\)"):
        make_plan(table(MID, Column("tags", "Array(String)"), Column("kv", "Map(String, String)")), None)
    with pytest.raises(TargetRefused, match="tags"):
        make_plan(table(MID, Column("tags", "Array(String)")), ("tags",))


def test_such_a_column_with_a_default_is_left_to_the_server() -> None:
    plan = make_plan(table(MID, Column("tags", "Array(String)", "DEFAULT"), Column("p", "Nullable(Point)")), None)
    assert plan.columns == (Planned("_mid", "String"),)


def test_a_plan_survives_json() -> None:
    plan = make_plan(table(MID, EXTRA, Column("a", "UInt8", "DEFAULT")), None)
    assert Plan.from_json(json.loads(json.dumps(plan.to_json()))) == plan


@pytest.mark.parametrize("frozen", [{}, {"columns": [["a"]], "rest": "extra"}, {"columns": [], "rest": "burn"}])
def test_a_plan_of_another_version_is_refused(frozen: dict[str, object]) -> None:
    with pytest.raises(TargetRefused, match="another version"):
        Plan.from_json(frozen)


def test_a_plan_fits_while_its_columns_are_there() -> None:
    plan = make_plan(table(MID, EXTRA, Column("a", "UInt8")), None)
    assert plan.fits(table(MID, Column("new", "Int8"), Column("a", "UInt8"), EXTRA))
    assert not plan.fits(table(MID, EXTRA, Column("a", "UInt16")))
    assert not plan.fits(table(MID, EXTRA))
    assert not plan.fits(table(MID, Column("a", "UInt8")))
    assert not plan.fits(table(MID, EXTRA, Column("a", "UInt8", "ALIAS")))


def test_table_names() -> None:
    assert TableName.read("scores") == TableName("default", "scores")
    assert TableName.read("lake.scores") == TableName("lake", "scores")
    assert TableName.read("lake.scores").quoted == "`lake`.`scores`"


def test_identifiers_cannot_leave_their_quotes() -> None:
    assert quote("a`b\\") == "`a\\`b\\\\`"
