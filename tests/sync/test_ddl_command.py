"""`dataflow ddl` on a real clickhouse-server, and what it would say to a newer one."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from dataflow.flow.spec import Field
from dataflow.testing.servers import ClickHouseServer
from dataflow.warehouse import connect
from sync.ddl_command import ddl
from sync.sinks.clickhouse.ddl import needed
from sync.sinks.clickhouse.table import Column, Table, TableName
from tests.acceptance.project import command

FLOW = """
flow: water
connections:
  main: {redis: "redis://127.0.0.1:1"}
  warehouse: {clickhouse: "%s"}
streams:
  a.stream_in: {schema: {n: int, ok: bool, at: {type: datetime, nullable: true}}}
  b.stream_in: {keep: {messages: 10}}
edges:
  archive: {kind: s2ch, from: a.stream_in, to: warehouse.%s}
  onward: {kind: s2s, from: a.stream_in, to: b.stream_in}
"""
NAME = TableName("default", "scores")
NEW = (24, 3)


def asked(clickhouse: ClickHouseServer, table: str, folder: Path, edge: str = "archive") -> str:
    flow = folder / "flow.yml"
    flow.write_text(FLOW % (clickhouse.writer_url, table))
    told = CliRunner().invoke(ddl, [str(flow), edge], catch_exceptions=False)
    assert told.exit_code == 0
    return told.output


def _elsewhere(folder: Path) -> str:
    """The same flow with a database that nobody makes."""
    flow = folder / "elsewhere.yml"
    flow.write_text((folder / "flow.yml").read_text().replace("/lake", "/sea"))
    return str(flow)


def _sql(folder: Path, text: str) -> tuple[int, str]:
    done = command(folder, "sql", "--write", stdin=text)
    return done.returncode, done.stderr


@pytest.mark.integration
class TestServer:
    def test_what_it_prints_makes_the_table(
        self, clickhouse: ClickHouseServer, server_table: str, tmp_path: Path
    ) -> None:
        warehouse = connect(clickhouse.url)
        said = asked(clickhouse, server_table, tmp_path)
        assert f"-- there is no table default.{server_table}" in said
        assert "-- field at: Nullable(DateTime('UTC')) holds whole seconds of 1970 ... 2106 only" in said
        for statement in said.split(";")[:-1]:
            warehouse.query(statement, write=True)
        described = warehouse.rows(f"DESCRIBE TABLE {server_table}")
        assert [row["type"] for row in described] == [
            "String", "Int64", "UInt8", "Nullable(DateTime('UTC'))", "String",
        ]  # fmt: skip
        assert asked(clickhouse, server_table, tmp_path).splitlines() == [
            f"-- table default.{server_table} recognises a batch that is sent again by: readback",
            "-- field at: Nullable(DateTime('UTC')) holds whole seconds of 1970 ... 2106 only",
        ]

    def test_what_it_prints_mends_a_table(
        self, clickhouse: ClickHouseServer, server_table: str, tmp_path: Path
    ) -> None:
        warehouse = connect(clickhouse.url)
        warehouse.query(f"CREATE TABLE {server_table} (n UInt8) ENGINE = MergeTree ORDER BY n", write=True)
        said = asked(clickhouse, server_table, tmp_path)
        assert f"-- table default.{server_table} recognises a batch that is sent again by: none" in said
        assert "-- left as it is: column n: UInt8, not Int64" in said
        for statement in said.split(";")[:-1]:
            warehouse.query(statement, write=True)
        assert "by: readback" in asked(clickhouse, server_table, tmp_path)

    @pytest.mark.acceptance
    def test_it_is_piped_into_sql(self, clickhouse: ClickHouseServer, server_table: str, tmp_path: Path) -> None:
        made = asked(clickhouse, server_table, tmp_path)
        assert made.count(";\n") == 2
        assert _sql(tmp_path, made) == (0, "")
        connect(clickhouse.url).query(f"ALTER TABLE {server_table} DROP COLUMN _extra", write=True)
        connect(clickhouse.url).query(f"ALTER TABLE {server_table} DROP COLUMN ok", write=True)
        mended = asked(clickhouse, server_table, tmp_path)
        assert mended.count("ADD COLUMN") == 2
        assert _sql(tmp_path, mended) == (0, "")
        assert _sql(tmp_path, asked(clickhouse, server_table, tmp_path)) == (
            0,
            "nothing to do: there are only comments\n",
        )
        code, told = _sql(tmp_path, f"DROP TABLE {server_table};\n-- mends; it\n{mended}")
        assert code == 2
        assert told.startswith(f"dataflow: statement 2 of 3 (ALTER TABLE `default`.`{server_table}` ADD COLUMN")
        assert told.endswith(f"done before it: DROP TABLE {server_table}; not tried after it: 1\n")

    @pytest.mark.acceptance
    def test_a_database_that_is_not_there(self, own_clickhouse: ClickHouseServer, tmp_path: Path) -> None:
        (tmp_path / "flow.yml").write_text(FLOW % (f"{own_clickhouse.writer_url}/lake", "scores"))
        made = command(tmp_path, "ddl", "archive").stdout
        assert "-- there is no table lake.scores\n" in made and "CREATE DATABASE IF NOT EXISTS `lake`;" in made
        assert _sql(tmp_path, made) == (0, "")
        counted = command(tmp_path, "sql", "--json", "SELECT count() AS n FROM scores").stdout
        assert counted == '{"n":0}\n'
        assert "does not let us in" in command(tmp_path, "sql", "-f", _elsewhere(tmp_path), "SELECT 1").stderr

    def test_an_edge_without_a_table(self, clickhouse: ClickHouseServer, tmp_path: Path) -> None:
        flow = tmp_path / "flow.yml"
        flow.write_text(FLOW % (clickhouse.url, "t"))
        assert "writes to no table" in str(CliRunner().invoke(ddl, [str(flow), "onward"]).exception)


def test_a_newer_server_is_to_remember_blocks() -> None:
    table = Table(NAME, (Column("n", "Int64"),), "MergeTree", 0, NEW)
    assert needed(table, NAME, {"n": Field("int")}, NEW) == [
        "ALTER TABLE `default`.`scores` ADD COLUMN `_mid` String",
        "ALTER TABLE `default`.`scores` ADD COLUMN `_extra` String",
        "ALTER TABLE `default`.`scores` MODIFY SETTING non_replicated_deduplication_window = 10000",
    ]


def test_columns_that_the_edge_does_not_write_are_not_needed() -> None:
    table = Table(NAME, (Column("n", "Int64"), Column("_mid", "String")), "MergeTree", 10, NEW)
    assert needed(table, NAME, {"n": Field("int"), "x": Field("float")}, NEW, projection=["n"]) == []


def test_columns_that_the_edge_does_not_write_are_not_made() -> None:
    schema = {"n": Field("int"), "at": Field("datetime"), "x": Field("float")}
    (_, made) = needed(None, NAME, schema, NEW, projection=["n"])
    assert "(\n  `_mid` String,\n  `n` Int64\n)\n" in made and "ORDER BY (`_mid`)" in made


def test_a_table_that_keeps_nothing_cannot_be_mended() -> None:
    table = Table(NAME, (Column("_mid", "String"), Column("_extra", "String")), "Log", 0, NEW)
    assert needed(table, NAME, None, NEW) == []
