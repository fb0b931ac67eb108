"""The warehouse's socket, asked by the client and by strangers."""

from __future__ import annotations

import os
import socket
import struct
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import msgspec
import pytest

from dataflow import frames
from dataflow.errors import OutcomeUnknown, ServerAway
from dataflow.run_file import WarehouseAddress
from dataflow.warehouse import MAX_ASK_BYTES, Ask, QueryFailed, Warehouse, connect
from sync.warehouse import server as module
from sync.warehouse.chdb import ChdbWarehouse
from sync.warehouse.server import WarehouseServer

pytestmark = pytest.mark.integration

KEY = "the right key"


@pytest.fixture(scope="module")
def server(warehouse: ChdbWarehouse) -> Iterator[WarehouseServer]:
    """A server on a free port."""
    server = WarehouseServer(warehouse, 0, KEY)
    server.start()
    yield server
    server.close()
    server.close()


@pytest.fixture(scope="module")
def address(server: WarehouseServer) -> WarehouseAddress:
    """Where it is."""
    return WarehouseAddress("127.0.0.1", server.port, KEY)


@pytest.fixture
def client(address: WarehouseAddress) -> Warehouse:
    """A client with the key."""
    return connect(address)


@pytest.fixture
def stranger(address: WarehouseAddress) -> Iterator[socket.socket]:
    """A connection that has said nothing yet."""
    with socket.create_connection((address.host, address.port), timeout=10) as connection:
        yield connection


class TestAsking:
    def test_a_question_is_answered(self, client: Warehouse) -> None:
        assert client.query("SELECT 1 AS x, 'a' AS y") == b'"x","y"\n1,"a"\n'
        assert client.query("SELECT 1 AS x", "JSONEachRow") == b'{"x":1}\n'

    def test_rows_are_dicts_with_exact_values(self, client: Warehouse) -> None:
        question = (
            "SELECT toUInt64(18446744073709551615) AS big, nan AS nan, -inf AS low, NULL AS nothing, true AS yes, "
            "'é\\n' AS text, toDecimal128('0.1234567890123456789', 19) AS decimal"
        )
        (row,) = client.rows(question)
        assert str(row.pop("nan")) == "nan"
        assert row == {
            "big": 2**64 - 1,
            "low": float("-inf"),
            "nothing": None,
            "yes": True,
            "text": "é\n",
            "decimal": "0.1234567890123456789",
        }
        assert client.rows("SELECT 1 AS x WHERE 0") == []

    def test_parameters_are_bound(self, client: Warehouse) -> None:
        assert client.rows("SELECT {a:String} AS a, {b:Array(String)} AS b", {"a": "'; DROP", "b": ["x", "'"]}) == [
            {"a": "'; DROP", "b": ["x", "'"]}
        ]

    def test_a_wrong_statement_is_told(self, client: Warehouse) -> None:
        with pytest.raises(QueryFailed, match="Syntax error") as failed:
            client.query("SELECT")
        assert failed.value.exit_code == 2
        assert "\n" not in str(failed.value)

    def test_rows_need_the_format_of_rows(self, client: Warehouse) -> None:
        with pytest.raises(QueryFailed, match="leave FORMAT out"):
            client.rows("SELECT 1 FORMAT CSV")

    def test_writing_must_be_asked_for(self, client: Warehouse) -> None:
        statement = "CREATE TABLE written (n UInt8) ENGINE = MergeTree ORDER BY n"
        with pytest.raises(QueryFailed, match="dataflow sql --write"):
            client.query(statement)
        assert client.query(statement, write=True) == b""
        client.query("INSERT INTO written SELECT {n:UInt8}", params={"n": 5}, write=True)
        assert client.rows("SELECT * FROM written") == [{"n": 5}]

    def test_a_slow_question_is_given_up(self, client: Warehouse) -> None:
        with pytest.raises(QueryFailed, match=r"no answer within 0\.2 s"):
            client.query("SELECT count() FROM numbers(1000000000000) WHERE NOT ignore(rand())", timeout_s=0.2)

    def test_a_large_result_comes_whole(self, client: Warehouse) -> None:
        assert client.query("SELECT repeat('x', 1000000) FROM numbers(10)", "RawBLOB") == b"x" * 10_000_000

    def test_many_ask_at_once(self, client: Warehouse) -> None:
        with ThreadPoolExecutor(16) as pool:
            answers = list(pool.map(lambda n: client.rows("SELECT {n:UInt32} AS n", {"n": n}), range(100)))
        assert answers == [[{"n": n}] for n in range(100)]

    def test_a_statement_may_be_long_but_not_endless(self, client: Warehouse) -> None:
        assert client.rows("SELECT length({t:String}) AS n", {"t": "x" * 1_000_000}) == [{"n": 1_000_000}]
        with pytest.raises(QueryFailed, match="longer than 16 MiB"):
            client.query("SELECT {t:String}", params={"t": "x" * MAX_ASK_BYTES})


class TestStrangers:
    def test_the_key_is_needed(self, address: WarehouseAddress) -> None:
        for key in ("", "the right ke", "the right key ", "ключ"):
            with pytest.raises(ServerAway, match="does not know this key"):
                connect(WarehouseAddress(address.host, address.port, key)).query("SELECT 1")

    @pytest.mark.parametrize(
        "garbage",
        [
            b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
            b"\xff" * 1000,
            struct.pack(">I", 5) + b"hello",
            struct.pack(">I", 2) + b"[]",
            struct.pack(">I", 2) + b"{}",
            struct.pack(">I", 1) + b"\xff",
            struct.pack(">I", 100_000) + b"[" * 100_000,
            struct.pack(">I", 0),
            struct.pack(">I", MAX_ASK_BYTES + 1),
        ],
    )
    def test_garbage_ends_its_own_connection_only(
        self, garbage: bytes, stranger: socket.socket, client: Warehouse
    ) -> None:
        stranger.sendall(garbage)
        with suppress(ConnectionResetError):
            assert stranger.recv(100) == b""
        assert client.rows("SELECT 1 AS x") == [{"x": 1}]

    @pytest.mark.parametrize("said", [b"", b"\0", struct.pack(">I", 100) + b"half"])
    def test_who_hangs_up_in_the_middle_harms_nobody(
        self, said: bytes, stranger: socket.socket, client: Warehouse
    ) -> None:
        stranger.sendall(said)
        stranger.close()
        assert client.rows("SELECT 1 AS x") == [{"x": 1}]

    def test_random_bytes(self, address: WarehouseAddress, client: Warehouse) -> None:
        for _ in range(50):
            with socket.create_connection((address.host, address.port), timeout=10) as connection:
                connection.sendall(os.urandom(64))
        assert client.rows("SELECT 1 AS x") == [{"x": 1}]

    def test_one_connection_may_ask_often(self, stranger: socket.socket) -> None:
        for n in range(3):
            frames.send(stranger, msgspec.json.encode(Ask(key=KEY, sql=f"SELECT {n}", format="TSV")))
            assert frames.receive(stranger, 100) == b"+%d\n" % n

    def test_too_many_are_sent_away(self, address: WarehouseAddress, client: Warehouse) -> None:
        crowd = [socket.create_connection((address.host, address.port), timeout=10) for _ in range(module.MAX_CLIENTS)]
        try:
            with pytest.raises(ServerAway, match=r"clients already|broke off"):
                client.query("SELECT 1")
        finally:
            for connection in crowd:
                connection.close()
        deadline = time.monotonic() + 10
        while True:
            try:
                assert client.rows("SELECT 1 AS x") == [{"x": 1}]
                return
            except ServerAway:
                assert time.monotonic() < deadline

    def test_the_silent_are_let_go(self, address: WarehouseAddress, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(module, "SILENCE_S", 0.1)
        with socket.create_connection((address.host, address.port), timeout=10) as connection:
            connection.sendall(b"\0\0")
            assert connection.recv(1) == b""


class TestAway:
    def test_nobody_there(self) -> None:
        with socket.socket() as reserved:
            reserved.bind(("127.0.0.1", 0))
            nobody = connect(WarehouseAddress("127.0.0.1", reserved.getsockname()[1], KEY))
            with pytest.raises(ServerAway, match="is `dataflow up` running"):
                nobody.query("SELECT 1")

    @pytest.mark.parametrize(("write", "error"), [(False, ServerAway), (True, OutcomeUnknown)])
    def test_a_server_that_dies_while_it_answers(self, write: bool, error: type[Exception]) -> None:
        with socket.create_server(("127.0.0.1", 0)) as listener, ThreadPoolExecutor(1) as pool:
            dying = connect(WarehouseAddress("127.0.0.1", listener.getsockname()[1], KEY))
            answer = pool.submit(dying.query, "SELECT 1", write=write)
            connection, _ = listener.accept()
            assert frames.receive(connection, MAX_ASK_BYTES)
            connection.sendall(b"\0\0\0\x10half")
            connection.close()
            with pytest.raises(error, match="broke off"):
                answer.result(10)

    def test_a_taken_port_is_told(self, server: WarehouseServer, warehouse: ChdbWarehouse) -> None:
        with pytest.raises(ServerAway, match=f"cannot listen on 127.0.0.1:{server.port}"):
            WarehouseServer(warehouse, server.port, KEY).start()

    def test_it_comes_back_on_its_port(self, warehouse: ChdbWarehouse) -> None:
        first = WarehouseServer(warehouse, 0, KEY)
        first.start()
        port = first.port
        assert connect(WarehouseAddress("127.0.0.1", port, KEY)).query("SELECT 1")
        first.close()
        second = WarehouseServer(warehouse, port, KEY)
        second.start()
        assert connect(WarehouseAddress("127.0.0.1", port, KEY)).query("SELECT 1")
        second.close()
        with pytest.raises(RuntimeError, match="not running"):
            _ = second.port
