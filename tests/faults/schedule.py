"""Blows on the servers of a schedule, and what has to hold after each.

Messages wait and arrive once, whatever ticks were forgotten or fired again; no tick is in the history twice; the state
of the task becomes what its document wishes; the audit agrees.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal, get_args

from dataflow.testing.mongo import MongoServer
from dataflow.testing.servers import RedisServer
from tests.faults.rig import Rig

TICKS_S = 2.0
"""The edge of the rig is due so often; and so often the documents are looked at."""
LONGER_S = 1.25 * TICKS_S
"""In so long a tick would have fired, and the documents been looked at."""


def assert_kept(rig: Rig) -> None:
    """All is there once, and no tick has run twice."""
    rig.assert_whole()
    ran = Counter(one["tick"] for one in rig.record().get("history", ()))
    assert [tick for tick, times in ran.items() if times > 1] == []


def assert_does(rig: Rig, state: str) -> None:
    """The task is in this state, and behaves so."""
    rig.until(f"it is said to be {state}", lambda: rig.state() == state)
    if state == "paused":
        assert any(_stays(rig) for _ in range(3)), "a run that was under way may end late, and then none begins"
    else:
        after = rig.last_tick()
        rig.send()
        rig.until("ticks fire", lambda: rig.last_tick() > after)
        rig.until("and move what is new", lambda: not rig.left())


def _stays(rig: Rig) -> bool:
    """Whether what is sent now is not moved."""
    arrived = len(rig.rows("doubled"))
    rig.send()
    rig.pause(LONGER_S)
    return len(rig.rows("doubled")) == arrived and bool(rig.left())


@contextmanager
def a_tick_moves_messages(rig: Rig) -> Iterator[None]:
    """What is in the `with` block happens while messages wait for a tick, which moves them after it."""
    rig.wish("paused")
    rig.until("no tick fires for now", lambda: rig.state() == "paused")
    numbers = rig.send()
    yield
    rig.wish("running")
    rig.until("a tick has moved them", lambda: bool(set(numbers) & set(rig.rows("doubled"))))


Blow = Literal["kill", "stop", "freeze"]
BLOWS = get_args(Blow)


@contextmanager
def struck(server: RedisServer | MongoServer, blow: Blow) -> Iterator[None]:
    """The server is away, as long as the `with` block lasts."""
    getattr(server, blow)()
    try:
        yield
    finally:
        if blow == "freeze":
            server.thaw()
        else:
            server.start()


def assert_waits_for_room(rig: Rig, server: RedisServer | MongoServer) -> None:
    """Whatever is wished while the disk of a server is full, it is so when there is room."""
    rig.send()
    for wish in ("paused", "running"):
        rig.wish(wish)
        server.fill_disk()
        rig.pause(LONGER_S)
        server.free_disk()
        assert_does(rig, wish)
    assert_kept(rig)
