"""Names of databases and columns that would end an unquoted statement are names and nothing else."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from urllib.parse import quote as percent

import pytest

from dataflow.clickhouse.address import ServerAddress
from dataflow.clickhouse.link import Link
from dataflow.errors import FlowError
from dataflow.flow.load import loads
from dataflow.message import meta
from dataflow.testing.servers import ClickHouseServer
from dataflow.warehouse import connect
from sync.sinks.clickhouse.table import quote
from tests.sync.sinks.clickhouse.tcp_lab import FLOW, TcpLab, labs

pytestmark = pytest.mark.integration

ODD = (
    "a`b", "c'd", 'e"f', "g\\h", "i; DROP TABLE safe", "j) VALUES (1); --", "k/*l", "m*/n", "größe", "温度", "with space",
    "{n:String}", "%s", "`", "\\`", "select", "o.p",
)  # fmt: skip
DATABASE = "odd`d\"b'; DROP DATABASE safe; --ü\\"


@pytest.fixture
def lab(redis_url: str, clickhouse: ClickHouseServer) -> Iterator[TcpLab]:
    with closing(Link(ServerAddress.read(clickhouse.url))) as link:
        link.change(f"CREATE DATABASE {quote(DATABASE)}")
        try:
            yield from labs(redis_url, f"{clickhouse.url}/{percent(DATABASE, safe='')}", "readings")
        finally:
            link.change(f"DROP DATABASE {quote(DATABASE)}")


def make_table(lab: TcpLab) -> None:
    columns = ", ".join(f"{quote(name)} String" for name in ODD)
    with closing(Link(ServerAddress.read(lab.ch_url))) as link:
        link.change(f"CREATE TABLE readings (_mid String, n Int64, {columns}) ENGINE = MergeTree ORDER BY n")


def test_odd_columns_are_filled_and_nothing_else_happens(lab: TcpLab) -> None:
    make_table(lab)
    names = [field for name in ODD for field in (name.encode(), f"value of {name}".encode())]
    known = meta("m0", "hub@1")
    lab.append_raw(*known, b"n", b"0", *names)
    run = lab.run()
    assert (run.state, run.written, run.dead, run.error) == ("empty", 1, 0, "")
    (row,) = connect(lab.ch_url).rows("SELECT * FROM readings")
    assert {name: row[name] for name in ODD} == {name: f"value of {name}" for name in ODD}
    (count,) = connect(lab.ch_url).rows("SELECT count() AS n FROM system.columns WHERE table = 'readings'")
    assert count["n"] == len(ODD) + 2


def test_a_table_with_odd_columns_is_made_in_an_odd_database(lab: TcpLab, clickhouse: ClickHouseServer) -> None:
    lab.fill(3)
    assert lab.run().state == "empty"
    assert lab.stored() == [("m0", 0), ("m1", 1), ("m2", 2)]
    found = connect(clickhouse.url).rows("SELECT name FROM system.tables WHERE database = {d:String}", {"d": DATABASE})
    assert [row["name"] for row in found] == ["readings"]


@pytest.mark.parametrize("table", ["a`b", "a;b", "a b", "a'b", 'a"b', "größe", "a.b", "a-b", "", "a\\b", "system.`x`"])
def test_a_flow_file_names_only_plain_tables(table: str) -> None:
    written = FLOW.replace("warehouse.%", "'warehouse." + table.replace("'", "''") + "'")
    with pytest.raises(FlowError, match="F113"):
        loads(written)
