"""A whole edge into a clickhouse-server: stream on a real Redis, runner, sink; connections that are cut."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from dataflow.cli import run as command
from dataflow.flow.load import load
from dataflow.message import Codec, meta
from dataflow.store.door import Door, Outgoing
from dataflow.store.keys import Keys
from dataflow.store.redis import connect as redis_client
from dataflow.testing.servers import ClickHouseServer
from dataflow.warehouse import connect
from dataflow.whereabouts import find
from sync.room import Room
from sync.runner import never
from tests.sync.lab import until
from tests.sync.sinks.clickhouse.cutter import Cutter, Point
from tests.sync.sinks.clickhouse.tcp_lab import TcpLab, labs

pytestmark = pytest.mark.integration


@pytest.fixture
def lab(redis_url: str, clickhouse: ClickHouseServer, server_table: str) -> Iterator[TcpLab]:
    yield from labs(redis_url, clickhouse.url, server_table)


@pytest.fixture
def cutter(clickhouse: ClickHouseServer) -> Iterator[Cutter]:
    with Cutter(clickhouse.url) as cutter:
        yield cutter


@pytest.fixture
def cut_lab(redis_url: str, cutter: Cutter, clickhouse: ClickHouseServer, server_table: str) -> Iterator[TcpLab]:
    yield from labs(redis_url, cutter.url, server_table, clickhouse.url)


def test_messages_become_rows_and_leave_the_stream(lab: TcpLab) -> None:
    lab.fill(35)
    run = lab.run()
    assert (run.state, run.error, run.read, run.written, run.batches) == ("empty", "", 35, 35, 4)
    lab.all_once()
    lab.books_balance()


def test_a_user_with_a_password(lab: TcpLab, clickhouse: ClickHouseServer) -> None:
    lab.ch_url = clickhouse.writer_url
    lab.fill(5)
    assert lab.run().state == "empty"
    lab.all_once()


def test_a_wrong_password_is_told_without_it(lab: TcpLab, clickhouse: ClickHouseServer) -> None:
    lab.ch_url = clickhouse.url.replace("//", "//writer:hunter2@")
    lab.fill(5)
    run = lab.run()
    assert run.state == "refused"
    assert "does not let us in" in run.error
    assert "hunter2" not in run.error
    assert lab.waiting() == 5


def test_what_does_not_fit_goes_to_the_dead_letters(lab: TcpLab) -> None:
    lab.fill(3)
    lab.append_raw(b"_mid", b"bad", b"n", b"many")
    run = lab.run()
    assert (run.state, run.written, run.dead) == ("empty", 3, 1)
    assert "n (Int64): 'many' is no whole number" in str(lab.dead())


@pytest.mark.parametrize(
    ("point", "state", "rows"),
    [("query", "away", {0}), ("ready", "unknown", {0}), ("half", "unknown", {0}), ("end", "unknown", {0, 10}),
     ("answer", "unknown", {10})],
)  # fmt: skip
def test_a_connection_that_is_cut(cut_lab: TcpLab, cutter: Cutter, point: Point, state: str, rows: set[int]) -> None:
    """Wherever it breaks, the batch is sent again and each row is there once."""
    cut_lab.fill(10)
    assert cut_lab.run(max_batches=0).state == "more"  # makes the table
    cutter.arm(point)
    run = cut_lab.run()
    assert (run.state, cutter.cuts) == (state, 1)
    assert cutter.ended_with_mark == (point not in ("query",))
    until(lambda: len(cut_lab.stored()) in rows)
    cut_lab.fill(15)
    assert cut_lab.run().state == "empty"
    cut_lab.all_once()
    cut_lab.books_balance()


def test_a_server_that_is_away(lab: TcpLab) -> None:
    lab.fill(5)
    assert lab.run().state == "empty"
    lab.ch_url = "clickhouse://127.0.0.1:1"
    lab.fill(5)
    run = lab.run()
    assert (run.state, run.read, lab.waiting()) == ("away", 0, 5)


def test_a_server_that_is_killed_between_batches(redis_url: str, own_clickhouse: ClickHouseServer) -> None:
    lab = TcpLab(redis_url, own_clickhouse.url, "scores")
    runner = lab.tcp_runner()
    lab.fill(10)
    assert runner.run().state == "empty"
    own_clickhouse.kill()
    lab.fill(10)
    assert runner.run().state in ("away", "unknown")
    own_clickhouse.start()
    assert runner.run().state == "empty"
    lab.all_once()
    runner.leave()
    lab.close()


def test_an_older_tables_types(lab: TcpLab, clickhouse: ClickHouseServer) -> None:
    assert lab.run().state == "empty"
    described = connect(clickhouse.url).rows(f"DESCRIBE TABLE {lab.table}")
    assert [(row["name"], row["type"]) for row in described] == [
        ("_mid", "String"), ("n", "Int64"), ("_extra", "String"),
    ]  # fmt: skip


COMMANDS = """
flow: water
connections:
  main: {redis: "%s"}
  warehouse: {clickhouse: "%s/lake"}
streams:
  a.stream_out: {schema: {n: int, ok: {type: bool, nullable: true}, at: datetime}}
edges:
  archive: {kind: s2ch, from: a.stream_out, to: warehouse.%s, create_table: true}
"""


def test_a_missing_table_is_told_in_one_line(
    redis_url: str, clickhouse: ClickHouseServer, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    flow = tmp_path / "flow.yml"
    flow.write_text(COMMANDS.replace(", create_table: true", "") % (redis_url, clickhouse.writer_url, "scores"))
    assert command(["apply", str(flow)]) == 0
    capfd.readouterr()
    assert command(["run", str(flow), "archive"]) == 1
    told = capfd.readouterr().err
    assert told.count("edge 'archive': ") == 1 and told.count("\n") == 1
    assert "there is no table lake.scores: set `create_table: true`" in told


def test_the_commands_on_a_server(
    redis_url: str, own_clickhouse: ClickHouseServer, tmp_path: Path, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    """Apply, run, ask, audit, find; the database is made, and the password never shown."""
    flow = tmp_path / "flow.yml"
    flow.write_text(COMMANDS % (redis_url, own_clickhouse.writer_url, "scores"))
    loaded = load(flow)
    keys = Keys(loaded.name)
    assert command(["apply", str(flow)]) == 0
    with closing(redis_client(redis_url)) as client:
        codec = Codec(loaded.streams["a.stream_out"].schema)
        at = datetime(2026, 1, 31, 12, 30, 15, 250000, tzinfo=UTC)
        rows = [meta(f"m{n}", "hub@1") + codec.encode({"n": n, "ok": None if n else True, "at": at}) for n in range(5)]
        Door(client, keys).append([Outgoing("a.stream_out", row) for row in rows])
        assert command(["run", str(flow), "archive"]) == 0
        capfdbinary.readouterr()
        question = "SELECT _mid, n, ok, at FROM scores WHERE n < 2 ORDER BY n"
        assert command(["sql", "--flow", str(flow), "--json", question]) == 0
        assert capfdbinary.readouterr().out.splitlines() == [
            b'{"_mid":"m0","n":0,"ok":1,"at":"2026-01-31 12:30:15"}',
            b'{"_mid":"m1","n":1,"ok":null,"at":"2026-01-31 12:30:15"}',
        ]
        assert command(["audit", str(flow)]) == 0
        assert b"unchecked" not in capfdbinary.readouterr().out
        tables = {"warehouse": connect(own_clickhouse.url + "/lake")}
        found = find(loaded, {"main": client}, tables, "m3")
        assert [(place.state, place.where) for place in found.places] == [("done", "warehouse.scores")]
        tables["warehouse"].query("INSERT INTO scores (_mid) SELECT 'm3'", write=True)
        assert command(["audit", str(flow)]) == 1
        own_clickhouse.kill()
        assert command(["sql", "--flow", str(flow), "SELECT 1"]) == 3
        said = b"".join(capfdbinary.readouterr())
        assert b"does not answer" in said
        assert b"w/rd" not in said and b"w%2Frd" not in said


def test_status_tells_how_the_last_run_of_a_scheduled_edge_ended(
    redis_url: str, own_clickhouse: ClickHouseServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Asked for by a schedule (in the sync room) and by hand, with no process left that could tell."""
    path = tmp_path / "flow.yml"
    text = COMMANDS % (redis_url, own_clickhouse.writer_url, "scores")
    path.write_text(text.replace("create_table: true", "task: external"))
    flow = load(path)
    assert command(["apply", str(path)]) == 0
    table = connect(own_clickhouse.url + "/lake")
    connect(own_clickhouse.url).query("CREATE DATABASE IF NOT EXISTS lake", write=True)

    def archive() -> dict[str, Any]:
        capsys.readouterr()
        assert command(["status", str(path), "--json"]) == 0
        (edge,) = json.loads(capsys.readouterr().out)["edges"]
        return dict(edge)

    def run_in_room(n: int) -> None:
        with closing(redis_client(redis_url)) as client, closing(Room(path)) as room:
            codec = Codec(flow.streams["a.stream_out"].schema)
            row = meta(f"m{n}", "hub@1") + codec.encode({"n": n, "ok": True, "at": datetime.now(UTC)})
            Door(client, Keys(flow.name)).append([Outgoing("a.stream_out", row)])
            room.run("archive", max_batches=None, stop=never)

    assert (archive()["mode"], archive()["state"]) == ("", "")
    columns = "_mid String, n Int64, ok Nullable(UInt8), at DateTime"
    table.query(f"CREATE TABLE scores ({columns}) ENGINE = MergeTree() ORDER BY n", write=True)
    run_in_room(1)
    assert (archive()["mode"], archive()["state"], archive()["last_run"]["error"]) == ("readback", "empty", "")

    table.query("DROP TABLE scores", write=True)
    run_in_room(2)
    found = archive()
    assert (
        found["mode"] == "readback" and found["state"] not in ("empty", "") and "scores" in found["last_run"]["error"]
    )
    command(["status", str(path)])
    assert "its last run" in " ".join(capsys.readouterr().out.split())

    table.query(f"CREATE TABLE scores ({columns}) ENGINE = MergeTree() ORDER BY n", write=True)
    assert command(["run", str(path), "archive"]) == 0
    assert (archive()["state"], archive()["last_run"]["error"], archive()["written"]) == ("empty", "", 2)
