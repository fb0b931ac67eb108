"""What is in the packets to a server that knows block tokens. None such can be run here over TCP: see the packets."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing

import pytest

from dataflow.clickhouse.address import ServerAddress
from dataflow.errors import Fenced, OutcomeUnknown
from sync.sinks.clickhouse.backend import Insert, InsertFailed
from sync.sinks.clickhouse.server import ServerBackend, insert_settings
from sync.sinks.clickhouse.table import TableName
from tests.sync.sinks.clickhouse.cutter import END_MARK
from tests.sync.sinks.clickhouse.fake_server import FakeServer, setting, text
from tests.sync.sinks.leases import Leases

NAME = TableName("default", "scores")
COLUMNS = [("_mid", "String"), ("n", "UInt8")]
ROWS = Insert(NAME, COLUMNS, [[b"m0", b"m1"], [7, 8]], "a1-5-ff", dedup=True)


@pytest.fixture
def server() -> Iterator[FakeServer]:
    with FakeServer(COLUMNS, (24, 3)) as server:
        yield server


def send(server: FakeServer, insert: Insert, leases: Leases | None = None) -> None:
    """What the sink does with a block."""
    with closing(ServerBackend(ServerAddress.read(server.url), leases or Leases())) as backend:
        backend.open()
        with backend.turn(NAME, "a1", 3, "nonce"):
            backend.insert(insert)


def test_the_identity_is_the_token_and_the_query_id(server: FakeServer) -> None:
    send(server, ROWS)
    assert server.insert.startswith(b"\x01" + text("a1-5-ff"))
    assert setting("insert_deduplication_token", "a1-5-ff") in server.insert
    assert setting("insert_deduplicate", "1") in server.insert
    assert setting("deduplicate_insert", "enable") in server.insert


def test_the_server_stores_before_it_answers_and_does_not_wait_long(server: FakeServer) -> None:
    send(server, ROWS)
    assert setting("async_insert", "0") in server.insert
    assert setting("receive_timeout", "10") in server.insert
    assert setting("replace_running_query", "0") in server.insert


def test_a_table_without_a_memory_is_sent_no_token(server: FakeServer) -> None:
    send(server, Insert(NAME, COLUMNS, [[b"m0"], [7]], "a1-5-ff", dedup=False))
    assert b"insert_deduplication_token" not in server.insert
    assert setting("deduplicate_insert", "disable") in server.insert
    assert setting("async_insert", "0") in server.insert


def test_all_rows_are_one_block(server: FakeServer) -> None:
    count = 300_000
    send(server, Insert(NAME, COLUMNS, [[b"m"] * count, [1] * count], "a1-6-ff", dedup=True))
    start = b"\x02\x00\x01\x00\x02\xff\xff\xff\xff\x00"
    assert server.rows.startswith(start + b"\x02" + b"\xe0\xa7\x12")
    assert server.rows.endswith(END_MARK)
    assert server.rows.count(start) == 2


def test_earlier_inserts_of_the_lineage_are_looked_for_first(server: FakeServer) -> None:
    send(server, ROWS)
    before = server.queries.index(server.insert) - 1
    assert b"FROM system.processes WHERE startsWith(query_id, 'a1-')" in server.queries[before]


def test_the_lease_is_looked_at_when_the_server_is_ready_and_nothing_was_sent(server: FakeServer) -> None:
    seen: list[tuple[bool, bytes]] = []

    class Watching(Leases):
        def check(self, lineage: str, epoch: int, nonce: str = "") -> None:
            seen.append((any(b"INSERT INTO" in query for query in server.queries), server.rows))

    send(server, ROWS, Watching())
    assert seen == [(False, b""), (True, b"")]


def test_an_overtaken_runner_sends_no_row(server: FakeServer) -> None:
    class Lost(Leases):
        def check(self, lineage: str, epoch: int, nonce: str = "") -> None:
            self.asked += 1
            if self.asked == 2:
                raise Fenced("overtaken", 4)

    with pytest.raises(Fenced):
        send(server, ROWS, Lost())
    assert server.rows == b""


def test_other_columns_than_the_server_wants_are_not_sent(server: FakeServer) -> None:
    with pytest.raises(InsertFailed) as failed:
        send(server, Insert(NAME, [("_mid", "String"), ("n", "UInt16")], [[b"m"], [1]], "a1-5-ff", dedup=True))
    assert failed.value.code == 53
    assert server.rows == b""


def test_the_same_insert_still_under_way_is_an_unknown_outcome() -> None:
    said = "DB::Exception: Query with id = a1-5-ff is already running. Stack trace:\n\n0. main()"
    with FakeServer(COLUMNS, (24, 3), refuse=(216, said)) as server, pytest.raises(OutcomeUnknown) as unknown:
        send(server, ROWS)
    assert "still under way" in str(unknown.value)
    assert "Stack trace" not in str(unknown.value)


def test_old_servers_are_sent_what_they_know() -> None:
    known = {"send_logs_level", "receive_timeout", "replace_running_query", "insert_deduplicate"}
    assert insert_settings(None, 10, (18, 16, 1)).keys() == known
    assert insert_settings("x", 10, (21, 11)).keys() == known | {"async_insert"}
