"""Tables of the benchmark in ClickHouse: made, filled by hand, and checked."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from clickhouse_driver import Client

from benchmarks.measure import CheckFailed

COLUMNS = ("_mid", "rec_id", "device", "n", "value", "ok")
CREATE = (
    "CREATE TABLE {table} (_mid String, rec_id String, device String, n Int64, value Float64, ok UInt8) "
    "ENGINE = MergeTree ORDER BY n"
)
CHECK = (
    "SELECT count() AS rows, uniqExact(_mid) AS mids, uniqExact(n) AS numbers, max(n) AS last, countIf("
    "rec_id = concat('r', toString(n)) AND device = concat('meter-', toString(n % 50)) AND value = n / 8 "
    "AND toUInt8(ok) = (n % 2 = 0)) AS whole FROM {table}"
)


def make(client: Client, table: str) -> None:
    """An empty table; a former one is dropped."""
    client.execute(f"DROP TABLE IF EXISTS {table}")
    client.execute(CREATE.format(table=table))


def ask(client: Client, table: str) -> dict[str, int]:
    """The answer to CHECK."""
    names = ("rows", "mids", "numbers", "last", "whole")
    return dict(zip(names, client.execute(CHECK.format(table=table))[0], strict=True))


def check_table(found: Mapping[str, Any], n: int) -> None:
    """Each of the first n messages is there once, whole. Raises CheckFailed."""
    wanted = {"rows": n, "mids": n, "numbers": n, "last": n - 1, "whole": n}
    got = {name: int(found[name]) for name in wanted}
    if got != wanted:
        raise CheckFailed(f"the table holds {got} where {wanted} was expected")
