"""Connections are lent again at once, looked at when they were idle, and never shared."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import pytest

from dataflow.errors import OutcomeUnknown, ServerAway
from dataflow.sockets import KernelTimedSocket
from dataflow.store.pool import Pool
from dataflow.store.redis import Client, call, connect, send
from dataflow.testing.servers import RedisServer


@pytest.fixture
def server() -> Iterator[RedisServer]:
    with RedisServer() as made:
        yield made


@pytest.fixture
def client(server: RedisServer) -> Iterator[Client]:
    with connect(server.url, timeout_s=2.0) as made:
        yield made


@pytest.fixture
def pool(client: Client) -> Pool:
    made = client.connection_pool
    assert isinstance(made, Pool)
    return made


def own_id(client: Client) -> int:
    return int(call(client, "CLIENT", "ID"))


def test_the_connection_that_came_back_is_lent_again(client: Client) -> None:
    first = own_id(client)
    assert own_id(client) == first


def test_two_at_once_have_one_each(client: Client) -> None:
    one, two = send(client, "CLIENT", "ID"), send(client, "CLIENT", "ID")
    assert one() != two()


def test_threads_never_share_a_connection(client: Client) -> None:
    wrong: list[object] = []

    def ask(name: str) -> None:
        for n in range(300):
            told = call(client, "ECHO", f"{name} {n}")
            if told != f"{name} {n}".encode():
                wrong.append(told)

    threads = [threading.Thread(target=ask, args=(str(n),)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
    assert len(call(client, "CLIENT", "LIST").splitlines()) <= 8


def test_one_that_the_server_closed_is_noticed_before_a_command_is_sent(client: Client, server: RedisServer) -> None:
    call(client, "PING")
    server.restart()
    assert call(client, "SET", "a", "1") == b"OK"
    server.kill()
    with pytest.raises(ServerAway):
        call(client, "SET", "a", "2")


def test_one_that_breaks_in_use_says_so(client: Client, server: RedisServer) -> None:
    waits = send(client, "BLPOP", "nothing", "0")
    server.kill()
    with pytest.raises(OutcomeUnknown):
        waits()
    server.start()
    assert call(client, "PING") == b"PONG"


def test_no_answer_in_time_is_told_and_the_connection_not_used_again(server: RedisServer) -> None:
    with connect(server.url, timeout_s=0.3) as client:
        before = own_id(client)
        with pytest.raises(OutcomeUnknown, match="Timeout reading from socket"):
            call(client, "BLPOP", "nothing", "0")
        assert own_id(client) != before
        assert call(client, "PING") == b"PONG"


def test_who_is_interrupted_leaves_no_answer_to_the_next(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """Wherever it happens: while connecting, while sending, while waiting; by our calls, or by redis-py's own."""
    call(client, "PING")
    for times in range(12):
        for asks in (lambda: call(client, "ECHO", "old"), lambda: client.echo("old")):
            client.connection_pool.disconnect()
            with interrupted(monkeypatch, after=times), suppress(KeyboardInterrupt):
                asks()
            for word in (b"one", b"two", b"three"):
                assert call(client, "ECHO", word) == word
                assert client.echo(word) == word


@contextmanager
def interrupted(monkeypatch: pytest.MonkeyPatch, after: int) -> Iterator[None]:
    """KeyboardInterrupt at a system call on a socket to Redis, before or after it; so many go well first."""
    left = [after]

    def guard(name: str) -> None:
        method = getattr(KernelTimedSocket, name)

        def guarded(sock: KernelTimedSocket, *args: object) -> object:
            left[0] -= 1
            if left[0] == -1:
                raise KeyboardInterrupt
            found = method(sock, *args)
            left[0] -= 1
            if left[0] == -1:
                raise KeyboardInterrupt
            return found

        context.setattr(KernelTimedSocket, name, guarded)

    with monkeypatch.context() as context:
        for name in ("recv_into", "sendall"):
            guard(name)
        yield


def test_what_redis_py_gives_back_with_an_answer_outstanding_is_looked_at(client: Client, pool: Pool) -> None:
    for _ in range(3):
        link = pool.get_connection()
        link.send_command("ECHO", "old")
        while not link.can_read(1.0):
            pass
        pool.release(link)
        assert call(client, "ECHO", "new") == b"new"


def test_a_child_process_makes_connections_of_its_own(client: Client) -> None:
    ours = own_id(client)
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.write(writing, str(own_id(client)).encode())
        finally:
            os._exit(0)
    os.waitpid(child, 0)
    os.close(writing)
    theirs = int(os.read(reading, 100))
    os.close(reading)
    assert theirs != ours
    assert own_id(client) == ours


def test_disconnecting_closes_those_that_came_back(client: Client, pool: Pool) -> None:
    before = own_id(client)
    pool.disconnect()
    assert own_id(client) != before


def test_sockets_keep_their_time_outs_in_the_kernel(pool: Pool) -> None:
    link = pool.lend()
    assert isinstance(link._sock, KernelTimedSocket)
    assert link._sock.gettimeout() == 2.0
    pool.keep(link)


def test_a_unix_socket_does_as_well(server: RedisServer) -> None:
    path = server.folder / "redis.sock"
    server.settings["unixsocket"] = str(path)
    server.restart()
    with connect(f"unix://{path}") as client:
        assert own_id(client) == own_id(client)
        server.restart()
        assert call(client, "SET", "a", "1") == b"OK"
        server.kill()
        with pytest.raises(ServerAway):
            call(client, "SET", "a", "2")
