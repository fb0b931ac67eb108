"""Time-outs that the kernel keeps are those that Python would keep."""

from __future__ import annotations

import signal
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from dataflow.sockets import KernelTimedSocket

Ends = tuple[socket.socket, socket.socket]


@pytest.fixture(params=["kernel", "python"])
def ends(request: pytest.FixtureRequest) -> Iterator[Ends]:
    """The end to be tried, and the other one: both kinds pass the same tests."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        ours, theirs = socket.create_connection(listener.getsockname()), listener.accept()[0]
    tried = KernelTimedSocket.of(ours) if request.param == "kernel" else ours
    with tried, theirs:
        yield tried, theirs


def test_it_waits_for_what_comes(ends: Ends) -> None:
    tried, other = ends
    tried.settimeout(5)
    other.sendall(b"some")
    assert tried.recv(100) == b"some"
    other.sendall(b"more")
    buffer = bytearray(100)
    assert tried.recv_into(buffer) == 4 and buffer[:4] == b"more"
    assert tried.send(b"a") == 1
    tried.sendall(b"bc")
    assert other.recv(100) == b"abc"


def test_it_waits_no_longer_than_told(ends: Ends) -> None:
    tried, _ = ends
    for seconds in (0.2, 0.05):
        tried.settimeout(seconds)
        assert tried.gettimeout() == seconds
        for read in (lambda: tried.recv(1), lambda: tried.recv_into(bytearray(1))):
            begun = time.monotonic()
            with pytest.raises(TimeoutError, match="timed out"):
                read()
            assert seconds <= time.monotonic() - begun + 0.01 and time.monotonic() - begun < seconds + 2


def test_what_nobody_takes_is_late_too(ends: Ends) -> None:
    tried, _ = ends
    tried.settimeout(0.05)
    with pytest.raises(TimeoutError):
        tried.sendall(b"x" * 50_000_000)
    with pytest.raises(TimeoutError):
        while True:  # the kernel may find some more room
            tried.send(b"x" * 1_000_000)


def test_one_who_takes_it_slowly_does_not_begin_the_time_anew(ends: Ends) -> None:
    tried, other = ends
    tried.settimeout(0.5)
    stop = threading.Event()

    def take() -> None:
        while not stop.wait(0.1):
            other.recv(50_000)

    thread = threading.Thread(target=take)
    thread.start()
    begun = time.monotonic()
    try:
        with pytest.raises(TimeoutError):
            tried.sendall(b"x" * 50_000_000)
        assert time.monotonic() - begun < 3
    finally:
        stop.set()
        thread.join()


def test_all_is_sent_to_one_who_takes_it(ends: Ends) -> None:
    tried, other = ends
    tried.settimeout(20)
    data = bytes(range(256)) * 40_000
    found = bytearray()

    def take() -> None:
        while len(found) < len(data):
            found.extend(other.recv(1_000_000))

    thread = threading.Thread(target=take)
    thread.start()
    tried.sendall(data)
    thread.join()
    assert found == data


def test_it_does_not_wait_if_told_so_and_does_again(ends: Ends) -> None:
    tried, other = ends
    tried.setblocking(False)
    assert tried.gettimeout() == 0
    for ask in (lambda: tried.recv(1), lambda: tried.recv_into(bytearray(1))):
        with pytest.raises(BlockingIOError):
            ask()
    tried.setblocking(True)
    assert tried.gettimeout() is None
    tried.settimeout(0.05)
    with pytest.raises(TimeoutError):
        tried.recv(1)
    tried.settimeout(None)
    other.send(b"x")
    assert tried.recv(1) == b"x"


def test_the_shortest_time_is_not_for_ever(ends: Ends) -> None:
    tried, _ = ends
    tried.settimeout(1e-9)
    with pytest.raises(TimeoutError):
        tried.recv(1)


def test_it_takes_a_connection_over_with_its_time_out() -> None:
    ours, theirs = socket.socketpair()
    ours.settimeout(0.05)
    with KernelTimedSocket.of(ours) as tried, theirs:
        assert ours.fileno() == -1
        assert tried.gettimeout() == 0.05
        with pytest.raises(TimeoutError):
            tried.recv(1)
        theirs.close()
        assert tried.recv(1) == b""


def test_it_knows_whether_the_other_side_has_hung_up() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener, ExitStack() as open_:
        pairs = [socket.socketpair(), (socket.create_connection(listener.getsockname()), listener.accept()[0])]
        for ours, theirs in pairs:
            tried = open_.enter_context(KernelTimedSocket.of(ours))
            assert tried.is_open()
            theirs.sendall(b"last words")
            assert tried.is_open()
            assert tried.recv(100) == b"last words"
            theirs.close()
            assert not tried.is_open()
            tried.close()
            assert not tried.is_open()


def test_a_signal_makes_it_wait_a_second_longer_at_most() -> None:
    """Python repeats a call that a signal has broken; the whole time-out would begin anew."""
    ours, theirs = socket.socketpair()
    before = signal.signal(signal.SIGALRM, lambda *_: None)
    with KernelTimedSocket.of(ours) as tried, theirs:
        tried.settimeout(2)
        begun = time.monotonic()
        signal.setitimer(signal.ITIMER_REAL, 1.9)
        try:
            with pytest.raises(TimeoutError):
                tried.recv(1)
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, before)
        assert 1.9 <= time.monotonic() - begun < 3.4
