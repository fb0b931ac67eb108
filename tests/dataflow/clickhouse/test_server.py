"""Asking a real clickhouse-server."""

from __future__ import annotations

import json
import math
import time

import pytest

from dataflow.clickhouse import render
from dataflow.clickhouse.link import Result
from dataflow.errors import OutcomeUnknown, ServerAway
from dataflow.testing.servers import ClickHouseServer
from dataflow.warehouse import QueryFailed, Warehouse, connect

pytestmark = pytest.mark.integration

VALUES = """
SELECT 18446744073709551615 AS big, 1.5 AS x, nan AS no, -inf AS low, NULL AS gone, 'ä\\t"\\n' AS s, unhex('ff') AS raw,
    toDate('2026-01-31') AS d, toDateTime('2026-01-31 12:00:00') AS t,
    toDateTime('2026-01-31 12:00:00', 'Asia/Tokyo') AS z,
    toDecimal64('1.25', 2) AS dec, [1, 2] AS many, CAST('a' AS Enum8('a' = 1)) AS e
"""


@pytest.fixture
def warehouse(clickhouse: ClickHouseServer) -> Warehouse:
    return connect(clickhouse.writer_url)


def test_rows_are_plain_values(warehouse: Warehouse) -> None:
    (row,) = warehouse.rows(VALUES)
    assert math.isnan(row.pop("no"))
    assert row == {
        "big": 2**64 - 1, "x": 1.5, "low": -math.inf, "gone": None, "s": 'ä\t"\n', "raw": "\ufffd",
        "d": "2026-01-31", "t": "2026-01-31 12:00:00", "z": "2026-01-31 12:00:00", "dec": "1.25",
        "many": [1, 2], "e": "a",
    }  # fmt: skip


def test_values_are_bound_and_never_part_of_the_text(warehouse: Warehouse) -> None:
    evil = "' OR 1 = 1 -- \\"
    assert warehouse.rows("SELECT {a:String} AS a, {b:Float64} AS b", {"a": evil, "b": 1}) == [{"a": evil, "b": 1.0}]
    assert warehouse.rows("SELECT has({l:Array(String)}, 'x') AS n", {"l": ["x", "y"]}) == [{"n": 1}]


def test_formats(warehouse: Warehouse) -> None:
    question = "SELECT 1 AS n, 'a\"b\\t' AS s, NULL AS x"
    assert json.loads(warehouse.query(question, "JSONEachRow")) == {"n": 1, "s": 'a"b\t', "x": None}
    assert warehouse.query(question, "CSVWithNames") == b'"n","s","x"\n1,"a""b\t",\\N\n'
    assert warehouse.query(question, "TabSeparatedWithNames") == b'n\ts\tx\n1\ta"b\\t\t\\N\n'
    assert warehouse.query(question, "PrettyCompactMonoBlock").decode().splitlines() == [
        "n | s     | x", "--+-------+-----", '1 | a"b\\t | NULL',
    ]  # fmt: skip
    assert warehouse.query("SELECT nan AS x", "JSONEachRow") == b'{"x":"nan"}\n'
    with pytest.raises(QueryFailed, match="Parquet"):
        warehouse.query(question, "Parquet")


def test_columns_of_one_name() -> None:
    assert render.csv(Result(["a", "a"], ["UInt8", "UInt8"], [(1, 2)])) == b'"a","a"\n1,2\n'


def test_only_reading_unless_writing_is_asked_for(warehouse: Warehouse) -> None:
    with pytest.raises(QueryFailed, match="--write"):
        warehouse.query("CREATE TABLE asked (n UInt8) ENGINE = Log")
    warehouse.query("CREATE TABLE asked (n UInt8) ENGINE = Log", write=True)
    warehouse.query("INSERT INTO asked SELECT 5", write=True)
    assert warehouse.rows("SELECT n FROM asked") == [{"n": 5}]
    with pytest.raises(QueryFailed, match=r"INSERT \.\.\. SELECT"):
        warehouse.query("INSERT INTO asked VALUES (6)", write=True)
    warehouse.query("DROP TABLE asked", write=True)


def test_a_wrong_statement_is_told_on_one_line(warehouse: Warehouse) -> None:
    with pytest.raises(QueryFailed) as failed:
        warehouse.rows("SELECT * FROM nowhere")
    assert "nowhere" in str(failed.value)
    assert "Stack trace" not in str(failed.value)
    assert "\n" not in str(failed.value)


def test_a_slow_question_ends(warehouse: Warehouse) -> None:
    begun = time.monotonic()
    with pytest.raises(QueryFailed):
        warehouse.rows("SELECT count() FROM system.numbers", timeout_s=1)
    assert time.monotonic() - begun < 20


def test_a_large_result_is_refused(warehouse: Warehouse) -> None:
    with pytest.raises(QueryFailed):
        warehouse.rows("SELECT number, toString(number) FROM system.numbers LIMIT 5000000")


def test_databases(clickhouse: ClickHouseServer) -> None:
    connect(clickhouse.url).query("CREATE DATABASE IF NOT EXISTS lake", write=True)
    assert connect(clickhouse.url + "/lake").rows("SELECT currentDatabase() AS name") == [{"name": "lake"}]
    with pytest.raises(QueryFailed, match="nope"):
        connect(clickhouse.url + "/nope").rows("SELECT 1")


def test_who_is_not_let_in_is_told_so(clickhouse: ClickHouseServer) -> None:
    with pytest.raises(QueryFailed, match="does not let us in") as refused:
        connect(clickhouse.url.replace("//", "//writer:hunter2@")).rows("SELECT 1")
    assert "hunter2" not in str(refused.value)


def test_nobody_there() -> None:
    with pytest.raises(ServerAway, match=r"127\.0\.0\.1:1 "):
        connect("clickhouse://me:hunter2@127.0.0.1:1").rows("SELECT 1")


def test_a_server_that_stands_still(own_clickhouse: ClickHouseServer) -> None:
    warehouse = connect(own_clickhouse.url + "?connect_timeout=1&send_receive_timeout=1")
    assert warehouse.rows("SELECT 1 AS n") == [{"n": 1}]
    own_clickhouse.freeze()
    with pytest.raises((ServerAway, OutcomeUnknown)):
        warehouse.rows("SELECT 1 AS n", timeout_s=0.1)
    own_clickhouse.thaw()
    assert warehouse.rows("SELECT 1 AS n") == [{"n": 1}]
