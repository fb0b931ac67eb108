"""The servers of a schedule are away, lose their last seconds or have no room while ticks fire and states change.

Required of each cell: messages wait and arrive once, whatever ticks were forgotten or fired again; no tick is in the
history twice; the state of the task becomes what its document wishes; the audit agrees.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal, get_args

import pytest

from dataflow.store.redis import call
from dataflow.testing.mongo import MongoServer
from dataflow.testing.servers import RedisServer
from tests.faults.rig import Rig

pytestmark = pytest.mark.acceptance

TICKS_S = 2.0
"""The edge of the rig is due so often; and so often the documents are looked at."""
LONGER_S = 1.25 * TICKS_S
"""In so long a tick would have fired, and the documents been looked at."""
FROZEN_S = 6.0
"""Longer than a call to Redis waits (5 s)."""


@pytest.fixture(name="rig")
def a_rig_at_work(scheduled_rig: Rig) -> Rig:
    """The task runs, whatever an earlier test has left, and has moved messages."""
    rig = scheduled_rig
    rig.wish("running")
    rig.until("it runs", lambda: rig.state() == "running")
    if not rig.accepted:
        rig.send()
        rig.assert_whole()
    return rig


def assert_kept(rig: Rig) -> None:
    """All is there once, ticks go on, none of them has run twice."""
    rig.assert_whole()
    after = rig.last_tick()
    rig.send()
    rig.until("ticks go on", lambda: rig.last_tick() > after)
    rig.until("and move what is new", lambda: not rig.left())
    ran = Counter(one["tick"] for one in rig.record().get("history", ()))
    assert [tick for tick, times in ran.items() if times > 1] == []


def assert_does(rig: Rig, state: str) -> None:
    """The task is in this state, and behaves so."""
    rig.until(f"it is said to be {state}", lambda: rig.state() == state)
    if state == "paused":
        assert any(_stays(rig) for _ in range(3)), "a run that was under way may end late, and then none begins"
    else:
        rig.send()
        rig.until("its ticks fire", lambda: not rig.left())


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


@pytest.mark.parametrize("blow", BLOWS)
def test_redis_is_away_as_ticks_fire_and_states_change(blow: Blow, rig: Rig) -> None:
    for wish in ("paused", "running"):
        with struck(rig.redis, blow):
            rig.wish(wish)
            rig.pause(FROZEN_S if blow == "freeze" else 1.0)
        assert_does(rig, wish)
    assert_kept(rig)


@pytest.mark.parametrize("blow", BLOWS)
def test_mongodb_is_away_as_ticks_fire_and_states_change(blow: Blow, rig: Rig) -> None:
    with struck(rig.mongo, blow):
        rig.send()
        rig.assert_whole()  # with what the scheduler knows, it goes on without
    for wish in ("paused", "running"):
        rig.wish(wish)
        with struck(rig.mongo, blow):
            rig.pause(1.0)
        assert_does(rig, wish)
    assert_kept(rig)


def test_redis_forgets_ticks_and_what_they_moved(rig: Rig) -> None:
    with a_tick_moves_messages(rig):
        cut, before = rig.redis.log_bytes(), rig.last_tick()
    assert rig.last_tick() > before
    rig.redis.restart_cut_at(cut)
    assert_kept(rig)


@pytest.mark.parametrize("scheduler", ["lives", "is replaced"])
def test_mongodb_forgets_ticks(scheduler: str, rig: Rig) -> None:
    snapshot, before = rig.mongo.snapshot(), rig.record()["last_tick"]
    rig.send()
    rig.until("two ticks have fired", lambda: rig.record()["last_tick"] >= before + 2 * TICKS_S * 1000)
    fired = rig.last_tick()
    if scheduler == "is replaced":  # its successor knows of those ticks by Redis alone
        rig.kill("scheduler")
    rig.mongo.restart_from(snapshot)
    assert rig.record()["last_tick"] == before
    rig.until("ticks go on where Redis knows them to be", lambda: rig.last_tick() > fired)
    rig.until("and are written down", lambda: rig.record()["last_tick"] > fired)
    assert_kept(rig)


def test_redis_forgets_the_second_in_which_a_state_changed(rig: Rig) -> None:
    for wish in ("paused", "running"):
        cut = rig.redis.log_bytes()
        rig.wish(wish)
        rig.until(f"it is {wish}", lambda wish=wish: rig.state() == wish)  # type: ignore[misc]
        rig.redis.restart_cut_at(cut)
        assert_does(rig, wish)
    assert_kept(rig)


def test_mongodb_forgets_that_a_state_changed(rig: Rig) -> None:
    before = rig.mongo.snapshot()
    rig.wish("paused")
    wished = rig.mongo.snapshot()
    rig.until("it is paused", lambda: rig.state() == "paused")
    rig.mongo.restart_from(before)  # the wish is forgotten, too
    assert_does(rig, "running")
    rig.mongo.restart_from(wished)  # the wish is known, and that it was fulfilled is not
    assert_does(rig, "paused")
    rig.mongo.restart_from(before)
    assert_does(rig, "running")
    assert_kept(rig)


def test_redis_at_its_memory_limit_as_ticks_fire_and_states_change(rig: Rig) -> None:
    """Ticks fire and states follow. The broker is on that Redis: its hints are refused, so messages wait."""
    rig.wish("paused")
    rig.until("no tick fires for now", lambda: rig.state() == "paused")
    rig.send()
    before = rig.last_tick()
    call(rig.client, "CONFIG", "SET", "maxmemory", int(rig.memory() * 0.9))
    try:
        rig.wish("running")
        rig.until("states follow", lambda: rig.state() == "running")
        rig.until("a tick fires", lambda: rig.last_tick() > before)
        rig.wish("paused")
        rig.until("states follow both ways", lambda: rig.state() == "paused")
        rig.wish("running")
    finally:
        call(rig.client, "CONFIG", "SET", "maxmemory", 0)
    assert_kept(rig)


@pytest.mark.parametrize("server", ["redis", "mongo"])
def test_the_disk_of_a_server_is_full_as_ticks_fire_and_states_change(server: str, rig: Rig) -> None:
    victim = getattr(rig, server)
    rig.send()
    rig.wish("paused")
    victim.fill_disk()
    rig.pause(LONGER_S)
    victim.free_disk()
    assert_does(rig, "paused")
    rig.wish("running")
    victim.fill_disk()
    rig.pause(LONGER_S)
    victim.free_disk()
    assert_does(rig, "running")
    assert_kept(rig)
