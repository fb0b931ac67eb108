"""Looking ahead: at the right position, never twice at once, errors where they are asked for."""

from __future__ import annotations

import threading

import pytest

from dataflow.errors import ServerAway
from sync.ahead import Ahead


class Look:
    """What comes after a position is its name; notes who looked."""

    def __init__(self) -> None:
        self.looked: list[tuple[bytes, bool]] = []
        self.error: Exception | None = None

    def __call__(self, position: bytes) -> bytes:
        self.looked.append((position, threading.current_thread() is threading.main_thread()))
        if self.error is not None:
            raise self.error
        return b"after " + position


def test_what_was_looked_up_before_is_given() -> None:
    look = Look()
    with Ahead(look) as ahead:
        ahead.begin(b"1-0")
        assert ahead.after(b"1-0") == b"after 1-0"
    assert look.looked == [(b"1-0", False)]


def test_another_position_is_looked_at_anew() -> None:
    look = Look()
    with Ahead(look) as ahead:
        ahead.begin(b"1-0")
        assert ahead.after(b"2-0") == b"after 2-0"
        assert ahead.after(b"1-0") == b"after 1-0"
    assert look.looked == [(b"1-0", False), (b"2-0", True), (b"1-0", True)]


def test_an_error_is_raised_where_the_answer_is_asked_for() -> None:
    look = Look()
    with Ahead(look) as ahead:
        look.error = ServerAway("gone")
        ahead.begin(b"1-0")
        with pytest.raises(ServerAway):
            ahead.after(b"1-0")
        look.error = None
        assert ahead.after(b"1-0") == b"after 1-0"
