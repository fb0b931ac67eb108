"""Frames on a socket."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from threading import Thread

import pytest

from dataflow import frames


@pytest.fixture
def ends() -> Iterator[tuple[socket.socket, socket.socket]]:
    """Two connected sockets."""
    one, other = socket.socketpair()
    one.settimeout(10)
    other.settimeout(10)
    with one, other:
        yield one, other


@pytest.mark.parametrize("payload", [b"", b"x", b"\0" * 1_000_000])
def test_a_frame_arrives_as_it_was_sent(payload: bytes, ends: tuple[socket.socket, socket.socket]) -> None:
    sender = Thread(target=frames.send, args=(ends[0], payload))
    sender.start()
    assert frames.receive(ends[1], 1_000_000) == payload
    sender.join()


def test_frames_follow_one_another(ends: tuple[socket.socket, socket.socket]) -> None:
    for payload in (b"a", b"", b"bc"):
        frames.send(ends[0], payload)
    ends[0].close()
    assert [frames.receive(ends[1], 10) for _ in range(4)] == [b"a", b"", b"bc", None]


@pytest.mark.parametrize("sent", [b"\0", b"\0\0\0", b"\0\0\0\5", b"\0\0\0\5four"])
def test_an_end_inside_a_frame_is_told(sent: bytes, ends: tuple[socket.socket, socket.socket]) -> None:
    ends[0].sendall(sent)
    ends[0].close()
    with pytest.raises(frames.BrokenFrame, match="ended inside a frame"):
        frames.receive(ends[1], 10)


def test_a_frame_that_is_too_long_is_not_read(ends: tuple[socket.socket, socket.socket]) -> None:
    ends[0].sendall(b"\0\0\0\13")
    with pytest.raises(frames.BrokenFrame, match="11 bytes; at most 10"):
        frames.receive(ends[1], 10)
