"""The statements that make a table for a stream."""

from __future__ import annotations

from dataflow.flow.spec import Field
from sync.sinks.clickhouse import ddl
from sync.sinks.clickhouse.table import Column, Table, TableName

NAME = TableName("default", "scores")
SCHEMA = {
    "rec_id": Field("str"),
    "seen": Field("datetime", nullable=True),
    "ts": Field("datetime"),
    "flow": Field("float"),
    "n": Field("int", nullable=True),
    "ok": Field("bool"),
    "more": Field("json"),
}


def test_a_table_for_a_schema() -> None:
    assert ddl.create_table(NAME, SCHEMA) == (
        "CREATE TABLE IF NOT EXISTS `default`.`scores` (\n"
        "  `_mid` String,\n"
        "  `rec_id` String,\n"
        "  `seen` Nullable(DateTime64(6, 'UTC')),\n"
        "  `ts` DateTime64(6, 'UTC'),\n"
        "  `flow` Float64,\n"
        "  `n` Nullable(Int64),\n"
        "  `ok` Bool,\n"
        "  `more` String,\n"
        "  `_extra` String\n"
        ")\n"
        "ENGINE = MergeTree\n"
        "ORDER BY (`ts`, `_mid`)\n"
        "SETTINGS non_replicated_deduplication_window = 10000"
    )


def test_without_a_time_it_is_sorted_by_id() -> None:
    assert "ORDER BY (`_mid`)" in ddl.create_table(NAME, {"seen": Field("datetime", nullable=True)})
    assert "  `_mid` String,\n  `_extra` String\n" in ddl.create_table(NAME, None)


def test_differences_are_told() -> None:
    columns = (
        Column("_mid", "String"),
        Column("flow", "Float32"),
        Column("more", "String"),
        Column("_extra", "String"),
    )
    described = Table(NAME, columns, "MergeTree", 0, (26, 9))
    assert ddl.differences(described, {"flow": Field("float"), "n": Field("int")}) == [
        "column flow: Float32, not Float64",
        "column n: missing, not Int64",
    ]


def test_alterations() -> None:
    assert ddl.remember_blocks(NAME) == (
        "ALTER TABLE `default`.`scores` MODIFY SETTING non_replicated_deduplication_window = 10000"
    )
    assert ddl.add_mid(NAME) == "ALTER TABLE `default`.`scores` ADD COLUMN `_mid` String"
