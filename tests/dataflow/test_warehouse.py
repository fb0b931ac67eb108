"""What comes back from a warehouse, as Python values."""

from __future__ import annotations

import math

import pytest

from dataflow.clickhouse.server import ServerWarehouse
from dataflow.errors import UserError
from dataflow.run_file import WarehouseAddress
from dataflow.warehouse import Ask, connect, read_rows


def result(types: str, *rows: str) -> bytes:
    names = ",".join(f'"c{n}"' for n in range(types.count('"') // 2))
    return "\n".join([f"[{names}]", f"[{types}]", *rows, ""]).encode()


def test_nothing_is_no_rows() -> None:
    assert read_rows(b"") == []
    assert read_rows(result('"UInt8"')) == []


def test_whole_numbers_of_any_size_are_exact() -> None:
    assert read_rows(result('"UInt64", "Int64"', "[18446744073709551615, -9223372036854775808]")) == [
        {"c0": 2**64 - 1, "c1": -(2**63)}
    ]


@pytest.mark.parametrize(
    "type_", ["Float64", "Float32", "Nullable(Float64)", "LowCardinality(Nullable(Float32))", "BFloat16"]
)
def test_floats_are_floats_whatever_they_hold(type_: str) -> None:
    rows = read_rows(result(f'"{type_}"', "[1.5]", '["nan"]', '["-inf"]', "[2]", "[null]"))
    assert [row["c0"] for row in rows[:1] + rows[2:]] == [1.5, -math.inf, 2.0, None]
    assert math.isnan(rows[1]["c0"])


def test_other_values_stay_as_they_are() -> None:
    rows = read_rows(result('"String", "Array(Float64)", "Bool", "Nullable(String)"', '["nan", ["nan"], true, null]'))
    assert rows == [{"c0": "nan", "c1": ["nan"], "c2": True, "c3": None}]


def test_a_url_is_a_server_and_contacts_nobody_yet() -> None:
    warehouse = connect("clickhouse://me:hunter2@nowhere.invalid:9000/lake")
    assert isinstance(warehouse, ServerWarehouse)
    assert "hunter2" not in repr(warehouse)


def test_an_address_that_cannot_be_used_is_not_shown() -> None:
    with pytest.raises(UserError) as refused:
        connect("clickhouse://me:hunter2@host:9000/lake?max_threads=1")
    assert "max_threads" in str(refused.value)
    assert "hunter2" not in str(refused.value)


def test_keys_are_not_shown() -> None:
    assert "secret" not in repr(Ask(key="secret", sql="SELECT 1", format="CSV"))
    assert "secret" not in repr(connect(WarehouseAddress("127.0.0.1", 1, "secret")))
