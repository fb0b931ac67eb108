"""The doctor's judgements about ClickHouse, MongoDB, doors, clocks and this machine."""

from __future__ import annotations

import resource
from datetime import UTC, datetime
from pathlib import Path

import pytest

from dataflow.doctor import certificates, doors, machine, mongo
from dataflow.doctor import clickhouse as server
from dataflow.doctor.clickhouse import TableFacts, judge_table
from dataflow.doctor.clock import judge_clock
from dataflow.doctor.finding import Finding
from dataflow.flow.load import load
from dataflow.flow.spec import Edge
from dataflow.store.live import Live
from dataflow.testing.mongo import MongoServer
from dataflow.testing.servers import ClickHouseServer
from dataflow.up.ports import free_port
from dataflow.warehouse import connect

FLOW = """
flow: f
streams:
  a.stream_in: {{accepts: {{task_for: t, function_type: f}}}}
  a.stream_out: {{schema: {{n: int}}}}
workers: {{step: {{from: a.stream_in, to: a.stream_out, handler: "json:dumps"}}}}
edges:
  archive: {{kind: s2ch, from: a.stream_out, to: warehouse.rows, create_table: {create}, delivery: {delivery}}}
"""


def _edge(tmp_path: Path, create: str = "false", delivery: str = "exactly_once") -> Edge:
    path = tmp_path / "flow.yml"
    path.write_text(FLOW.format(create=create, delivery=delivery))
    return load(path).edges["archive"]


def _table(mode: str, window: int = 0, has_mid: bool = True) -> TableFacts:
    return TableFacts("db.rows", "MergeTree", mode, window, has_mid)


@pytest.mark.parametrize(
    ("table", "version", "expected"),
    [
        (None, (24, 8), {"table": "wrong"}),
        (_table("token", 10_000), (24, 8), {"mode": "ok"}),
        (_table("token", 100), (24, 8), {"window": "note"}),
        (_table("token", 10_000, has_mid=False), (24, 8), {"mode": "ok", "mid": "note"}),
        (_table("readback"), (18, 16), {"mode": "ok"}),
        (_table("readback"), (24, 8), {"mode": "note"}),
        (_table("none", has_mid=False), (24, 8), {"mode": "wrong", "mid": "note"}),
    ],
)
def test_tables(table: TableFacts | None, version: tuple[int, ...], expected: dict[str, str], tmp_path: Path) -> None:
    found = judge_table("edge archive", _edge(tmp_path), version, table)
    assert {finding.code: finding.level for finding in found} == expected


def test_what_the_flow_file_allows_is_not_wrong(tmp_path: Path) -> None:
    missing = judge_table("edge archive", _edge(tmp_path, create="true"), (24, 8), None)
    assert [finding.level for finding in missing] == ["ok"]
    loose = judge_table("e", _edge(tmp_path, delivery="at_least_once"), (24, 8), _table("none"))
    assert [finding.level for finding in loose] == ["note"]


@pytest.mark.integration
def test_a_clickhouse_server(clickhouse_url: str, tmp_path: Path) -> None:
    edge = _edge(tmp_path)
    found = server.examine("warehouse", connect(clickhouse_url), [edge], lambda _: _table("none", has_mid=False))
    assert {(one.subject, one.code, one.level) for one in found} >= {
        ("clickhouse warehouse", "clock", "ok"), ("edge archive", "mode", "wrong"),
    }  # fmt: skip
    assert found[0].code == "version" and "answers in" in found[0].text


@pytest.fixture
def clickhouse_url(clickhouse: ClickHouseServer) -> str:
    return clickhouse.writer_url


@pytest.mark.integration
def test_a_clickhouse_that_lets_nobody_in(clickhouse: ClickHouseServer) -> None:
    wrong = f"clickhouse://writer:not-it@127.0.0.1:{clickhouse.port}"
    (finding,) = _examined(wrong)
    assert finding.level == "wrong" and "not-it" not in str(finding)


def _examined(url: str) -> list[Finding]:
    return server.examine("warehouse", connect(url), [], lambda _: None)


@pytest.mark.integration
def test_a_mongodb() -> None:
    with MongoServer() as server:
        found = mongo.examine("tasks", server.url)
    assert {finding.level for finding in found} == {"ok"}
    (away,) = mongo.examine("tasks", f"mongodb://u:hunter2@127.0.0.1:{free_port()}")
    assert (away.level, away.code) == ("wrong", "unreachable") and "hunter2" not in str(away)


def test_a_mongodb_that_is_no_primary_and_late() -> None:
    now = datetime(2026, 1, 31, 12, tzinfo=UTC)
    hello = {"isWritablePrimary": False, "localTime": now.replace(tzinfo=None)}
    levels = {one.code: one.level for one in mongo.judge("m", hello, "7.0.1", 0.001, now.timestamp() + 60)}
    assert levels == {"version": "ok", "primary": "wrong", "clock": "wrong"}


def test_clocks() -> None:
    assert judge_clock("s", 0.3).level == "ok"
    ahead, behind = judge_clock("s", 60.0), judge_clock("s", -60.0)
    assert "ahead of" in ahead.text and "behind" in behind.text and ahead.level == behind.level == "wrong"


@pytest.mark.parametrize(
    ("status", "ready", "version", "code"),
    [
        (200, {"status": True}, {"data": {"flow": "f"}}, "ready"),
        (503, {"status": False, "msg": "not ready: ..."}, {"data": {"flow": "f"}}, "not ready"),
        (200, {"status": True}, {"data": {"flow": "other"}}, "stranger"),
        (200, None, None, "stranger"),
        (404, {"status": False}, None, "stranger"),
    ],
)
def test_doors(status: int, ready: object, version: object, code: str) -> None:
    found = doors.judge("hub", "http://h", "f", status, ready, version)
    assert found.code == code and (found.level == "ok") == (code == "ready")


def test_a_door_that_is_not_there() -> None:
    (found,) = doors.examine("hub", f"http://127.0.0.1:{free_port()}", "f")
    assert found.level == "wrong" and "dataflow hub" in found.remedy


def test_a_sync_api_that_is_not_there_is_wrong_only_where_it_is_called() -> None:
    (found,) = doors.examine("sync-api", f"http://127.0.0.1:{free_port()}", "f")
    assert found.level == "note" and "dataflow sync-api" in found.remedy and "--sync-api URL" in found.remedy


@pytest.mark.parametrize(
    ("process", "age_s", "ready", "code"),
    [
        ("hub@there.7", 1, True, "running"),
        ("hub@there.7", 1, False, "not ready"),
        ("hub@there.7", 60, True, None),
        ("hub@here.7", 1, True, None),
    ],
)
def test_a_door_on_another_machine_is_known_by_its_heartbeat(
    process: str, age_s: int, ready: bool, code: str | None
) -> None:
    beats = [
        Live("hub", process, 1_000_000 - age_s * 1000, {"ready": ready}),
        Live("sync", "sync@there.1", 1_000_000, {}),
    ]
    found = doors.heard("hub", beats, host="here", now_s=1000.0)
    assert [finding.code for finding in found] == ([code] if code else [])
    assert all((finding.level == "ok") == ready for finding in found)


def test_this_machine(tmp_path: Path) -> None:
    assert machine.judge_files(1024).level == "note"
    assert machine.judge_files(65536).level == machine.judge_files(resource.RLIM_INFINITY).level == "ok"
    full = list(machine.judge_folder(tmp_path, False, 1000, embedded=True))
    assert [finding.level for finding in full] == ["wrong", "wrong"]
    assert list(machine.judge_folder(tmp_path, False, 1000, embedded=False)) == []
    assert [f.code for f in machine.examine(tmp_path / "not" / "yet", embedded=True)] == ["files", "space"]


def test_an_address_that_believes_anybody_is_wrong() -> None:
    (found,) = certificates.examine("redis main", "rediss://u:hunter2@h/0?ssl_cert_reqs=none")
    assert (found.level, found.code) == ("wrong", "certificate")
    assert "ssl_cert_reqs=none" in found.text and "hunter2" not in str(found)
    assert certificates.examine("redis main", "rediss://u:hunter2@h/0") == []
