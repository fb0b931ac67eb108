"""docs/MOVING.md, done: a stream, a table and documents of a hand-made system, with the page's own flow and script."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import pymongo
import pytest

from dataflow.clickhouse.address import ServerAddress
from dataflow.clickhouse.link import Link
from dataflow.flow.load import load
from dataflow.store.redis import call
from dataflow.testing.mongo import MongoServer
from dataflow.testing.servers import ClickHouseServer, RedisServer
from dataflow.up.ports import free_port
from tests.acceptance.project import Project, command, environment, eventually
from tests.acceptance.site import READY_S, Process, door, runner

pytestmark = pytest.mark.acceptance

PAGE = (Path(__file__).parents[2] / "docs" / "MOVING.md").read_text(encoding="utf-8")
(FLOW,) = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
(SCRIPT,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
OLD_STREAM = "BUFF.andy.test0.stream_out"
AGENT = "http://172.17.0.1:24118/"
S2S = {
    "source_read_batch_num": 100, "target_write_batch_num": 100, "max_exec_cnt": 100, "target_q_max_len": 100000,
    "source_redis_agent_host": AGENT, "source_connection_hash": None,
    "target_redis_agent_host": AGENT, "target_connection_hash": None,
    "source_stream": "BUFF.andy.test0.stream_in", "target_stream": "BUFF.andy.test1.stream_in",
}  # fmt: skip
S2CH = {
    "source_read_batch_num": 100, "max_exec_cnt": 100,
    "source_redis_agent_host": AGENT, "source_connection_hash": None, "source_stream": "BUFF.andy.test1.stream_in",
    "target_ch_host": "172.17.0.1", "target_ch_port": 19000, "target_ch_database": "my_database",
    "target_ch_user": "default", "target_ch_insert_cols": ["id", "name"], "target_ch_insert_pid_name": "id",
    "target_ch_insert2table_name": "my_table",
}  # fmt: skip


class Move:
    """The servers of the older system with what is in them, and the page's flow beside."""

    def __init__(self, folder: Path, redis: RedisServer, clickhouse: ClickHouseServer, mongo: MongoServer) -> None:
        self.redis, self.clickhouse, self.mongo = redis, clickhouse, mongo
        self.ports = {str(port): free_port() for port in (24100, 24204, 24110)}
        self.project = Project(folder, self._at_home(FLOW))
        self._table = Link(ServerAddress.read(clickhouse.url))
        for statement in (
            "CREATE DATABASE my_database",
            "CREATE TABLE my_database.my_table (id UInt32, name String) ENGINE = MergeTree() ORDER BY id",
            "INSERT INTO my_database.my_table SELECT number + 1000000, 'old' FROM system.numbers LIMIT 50",
        ):
            self._table.change(statement)

    def _at_home(self, text: str) -> str:
        """The text of the page with the addresses of this test."""
        address = "redis://:${REDIS_PASSWORD}@127.0.0.1:24008/0", "redis://:password@127.0.0.1:24008/0"
        there = dict.fromkeys(address, self.redis.url)
        there["clickhouse://writer:${STORE_PASSWORD}@127.0.0.1:19000"] = self.clickhouse.url
        there["${DATAFLOW_MONGO_URL}"] = self.mongo.url
        there |= {f": {port}": f": {ours}" for port, ours in self.ports.items()}
        there |= {f"127.0.0.1:{port}": f"127.0.0.1:{ours}" for port, ours in self.ports.items()}
        for old, new in there.items():
            text = text.replace(old, new)
        return text

    def processes(self) -> Iterator[Process]:
        """Those that the page starts, but the hub: nobody sends here."""
        folder, file = self.project.folder, str(self.project.flow)
        yield runner(folder, "sync", ("sync", file), self.redis.url, load(self.project.flow), {})
        yield door(folder, "sync-api", ("sync-api", file), self.ports["24204"], {})
        yield door(folder, "scheduler", ("scheduler", file), self.ports["24110"], {})

    def run_script(self) -> str:
        """The page's script in the folder of the flow."""
        (self.project.folder / "bring.py").write_text(self._at_home(SCRIPT))
        done = subprocess.run(
            [sys.executable, "bring.py"],
            cwd=self.project.folder, capture_output=True, text=True, timeout=60, env=environment(), check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return done.stdout

    def publish(self, task_id: str, path: str, body: dict[str, Any]) -> None:
        """A document as it was, with the new address in it."""
        url = f"http://127.0.0.1:{self.ports['24204']}{path}"
        document = {
            "_id": f"m999-new.{task_id}", "machine": "m999-new", "task_id": task_id, "job_name": "make_a_request",
            "set_to_status": "running", "interval_para": {"second": "*/1"}, "start_dt": "", "end_dt": "",
            "task_kwargs": {"url": url, "json": body}, "is_enable": 1,
        }  # fmt: skip
        with pymongo.MongoClient[dict[str, Any]](self.mongo.url) as client:
            client["flask_aps"]["task_table"].insert_one(document)

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        """Ask the table's server."""
        return [tuple(row) for row in self._table.ask(sql).rows]

    def close(self) -> None:
        self._table.close()


@pytest.fixture
def move(tmp_path: Path, own_redis: RedisServer, own_clickhouse: ClickHouseServer) -> Iterator[Move]:
    with MongoServer() as mongo, closing(Move(tmp_path, own_redis, own_clickhouse, mongo)) as move:
        yield move


def test_the_page_brings_everything_over(move: Move) -> None:
    _fill_old_stream(move.redis, 500)
    ddl = move.project.command("ddl", "archive")
    assert "ADD COLUMN" in ddl.stdout and "_mid" in ddl.stdout, ddl.stdout + ddl.stderr
    altered = command(move.project.folder, "sql", "--write", stdin=ddl.stdout)
    assert altered.returncode == 0, altered.stderr
    applied = move.project.command("apply")
    assert applied.returncode == 0, applied.stderr
    with ExitStack() as stack:
        for process in move.processes():
            process.start()
            stack.callback(process.kill)
            eventually(f"{process.name} is ready", lambda p=process: p.is_ready, READY_S)  # type: ignore[misc]
        assert move.run_script() == "500 messages moved\n"
        move.publish("task004", "/s2s/", S2S)
        move.publish("task005", "/s2ch/", S2CH)
        eventually("the rows are there", lambda: move.rows(f"SELECT count() FROM {TABLE}") == [(50 + 490,)])
        assert move.rows(f"SELECT countIf(_mid != ''), uniqExactIf(_mid, _mid != '') FROM {TABLE}") == [(490, 490)]
        assert move.rows(f"SELECT sum(id) FROM {TABLE} WHERE _mid != ''") == [(sum(n for n in range(500) if n % 50),)]
        eventually("what has no name is a dead letter", lambda: _dead(move)["archive"] == 10)
    audit = move.project.command("audit", "--json")
    assert audit.returncode == 0, audit.stdout
    (table,) = [one for one in json.loads(audit.stdout)["findings"] if one["check"] == "table"]
    assert table["state"] == "unchecked" and table["left"] == 490


TABLE = "my_database.my_table"


def _fill_old_stream(redis: RedisServer, count: int) -> None:
    """As the older system has left it: flat entries without ids of ours; every fiftieth lacks a name."""
    with closing(redis.client()) as client:
        for n in range(count):
            named = ["name", f"name {n}"] if n % 50 else []
            call(client, "XADD", OLD_STREAM, "*", "id", n, *named)


def _dead(move: Move) -> dict[str, int]:
    done = move.project.command("dlq", "ls", "--json")
    assert done.returncode == 0, done.stderr
    return {one["reader"]: one["letters"] for one in json.loads(done.stdout)}
