"""A thread stays with its connection while the next request is on its way and nobody else needs it."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from threading import Event
from types import SimpleNamespace

import pytest

from dataflow.web import patience
from dataflow.web.patience import (
    IDLE_S,
    LEAST_RATE,
    REQUEST_S,
    PatientSocket,
    PatientUnreader,
    PatientWorker,
    Progress,
    WholeAnswers,
)


@pytest.fixture
def worker() -> Iterator[PatientWorker]:
    made = PatientWorker.__new__(PatientWorker)
    made.alive, made.tpool = True, ThreadPoolExecutor(1)
    yield made
    made.tpool.shutdown()


@pytest.fixture
def ends() -> Iterator[tuple[SimpleNamespace, socket.socket]]:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        yield SimpleNamespace(sock=ours, is_http2=False), theirs


def test_it_goes_on_with_a_request_that_has_come(
    worker: PatientWorker, ends: tuple[SimpleNamespace, socket.socket]
) -> None:
    conn, client = ends
    assert not worker._goes_on(conn)
    client.send(b"GET")
    assert worker._goes_on(conn)


def test_it_lets_go_when_another_waits_for_a_thread(
    worker: PatientWorker, ends: tuple[SimpleNamespace, socket.socket]
) -> None:
    conn, client = ends
    client.send(b"GET")
    hold = Event()
    for _ in range(2):
        worker.tpool.submit(hold.wait)
    assert not worker._goes_on(conn)
    hold.set()


def test_it_lets_go_when_the_service_ends(worker: PatientWorker, ends: tuple[SimpleNamespace, socket.socket]) -> None:
    conn, client = ends
    client.send(b"GET")
    worker.alive = False
    assert not worker._goes_on(conn)


def test_head_and_body_of_an_answer_leave_in_one_piece(ends: tuple[SimpleNamespace, socket.socket]) -> None:
    conn, client = ends
    answers = WholeAnswers(conn.sock)
    answers.sendall(b"head ")
    client.setblocking(False)
    with pytest.raises(BlockingIOError):
        client.recv(100)
    answers.sendall(b"body")
    assert client.recv(100) == b"head body"
    answers.sendall(b" more")
    assert client.recv(100) == b" more"
    answers.flush()
    with pytest.raises(BlockingIOError):
        client.recv(100)


def test_an_answer_without_a_body_leaves_when_it_is_done(ends: tuple[SimpleNamespace, socket.socket]) -> None:
    conn, client = ends
    answers = WholeAnswers(conn.sock)
    answers.sendall(b"head")
    answers.flush()
    assert client.recv(100) == b"head"
    assert answers.fileno() == conn.sock.fileno()


def test_a_client_that_does_not_take_its_answer_counts_as_gone(
    ends: tuple[SimpleNamespace, socket.socket], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(patience, "IDLE_S", 0.1)
    answers = WholeAnswers(PatientSocket.of(ends[0].sock))
    answers.sendall(b"head")
    with pytest.raises(ConnectionResetError, match="does not take"):
        answers.sendall(b"x" * 10_000_000)


def test_an_answer_has_all_its_time_however_late_its_request_came(
    ends: tuple[SimpleNamespace, socket.socket],
) -> None:
    with PatientSocket.of(ends[0].sock) as sock:
        sock.settimeout(1.0)
        answers = WholeAnswers(sock)
        answers.sendall(b"head")
        answers.flush()
        assert sock.gettimeout() == IDLE_S


def test_a_connection_waits_so_long_at_most_whatever_is_asked_for(ends: tuple[SimpleNamespace, socket.socket]) -> None:
    with PatientSocket.of(ends[0].sock) as sock:
        for asked, given in ((None, IDLE_S), (1.0, 1.0), (3600.0, IDLE_S)):
            sock.settimeout(asked)
            assert sock.gettimeout() == given
        sock.setblocking(False)
        with pytest.raises(BlockingIOError):
            sock.recv(1)
        sock.setblocking(True)
        assert sock.gettimeout() == IDLE_S


def test_a_client_that_sends_nothing_for_so_long_is_gone_for_good(
    ends: tuple[SimpleNamespace, socket.socket], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What comes late of one request must not be taken for the next."""
    monkeypatch.setattr(patience, "IDLE_S", 0.1)
    conn, client = ends
    with PatientSocket.of(conn.sock) as sock:
        unreader = PatientUnreader(sock)
        client.send(b"half")
        assert unreader.read() == b"half"
        assert unreader.read() == b""
        assert unreader.gone
        client.send(b"too late")
        unreader.begin()
        assert unreader.read() == b""
        assert unreader.gone


def test_a_request_whose_time_was_over_before_its_rest_came_is_not_read_on(
    ends: tuple[SimpleNamespace, socket.socket], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A view may take longer than a client may: then the rest of a body that it has not read is there, but too late."""
    conn, client = ends
    with PatientSocket.of(conn.sock) as sock:
        unreader = PatientUnreader(sock)
        client.send(b"the rest")
        late = patience.time.monotonic() + IDLE_S + 1
        monkeypatch.setattr(patience.time, "monotonic", lambda: late)
        assert unreader.read() == b""
        assert unreader.gone


def test_what_is_left_of_a_request_may_take_a_moment(
    ends: tuple[SimpleNamespace, socket.socket], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(patience, "DRAIN_S", 0.0)
    conn, client = ends
    with PatientSocket.of(conn.sock) as sock:
        unreader = PatientUnreader(sock)
        client.send(b"rest")
        unreader.finish()
        assert unreader.read() == b""
        assert unreader.gone


def test_what_comes_on_may_take_longer(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr(patience.time, "monotonic", lambda: now[0])
    progress = Progress()
    now[0] = IDLE_S
    assert progress.left_s() == 0.0
    progress.add(5 * LEAST_RATE)
    assert progress.left_s() == 5.0
    progress.add(10_000 * LEAST_RATE)
    assert progress.left_s() == REQUEST_S - IDLE_S
    progress.end_in(7.0)
    assert progress.left_s() == 7.0
    progress.end_in(50.0)
    assert progress.left_s() == 7.0
