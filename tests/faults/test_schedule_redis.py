"""The Redis of a schedule is away, loses its last second or has no room while ticks fire and states change.

What is required of each cell is in `tests.faults.schedule`.
"""

from __future__ import annotations

import pytest

from dataflow.store.redis import call
from tests.faults.rig import Rig
from tests.faults.schedule import (
    BLOWS,
    Blow,
    a_tick_moves_messages,
    assert_does,
    assert_kept,
    assert_waits_for_room,
    struck,
)

pytestmark = pytest.mark.acceptance

FROZEN_S = 6.0
"""Longer than a call to Redis waits (5 s)."""


@pytest.mark.parametrize("blow", BLOWS)
def test_redis_is_away_as_ticks_fire_and_states_change(blow: Blow, ticking_rig: Rig) -> None:
    for wish in ("paused", "running"):
        with struck(ticking_rig.redis, blow):
            ticking_rig.wish(wish)
            ticking_rig.pause(FROZEN_S if blow == "freeze" else 1.0)
        assert_does(ticking_rig, wish)
    assert_kept(ticking_rig)


def test_redis_forgets_ticks_and_what_they_moved(ticking_rig: Rig) -> None:
    with a_tick_moves_messages(ticking_rig):
        cut, before = ticking_rig.redis.log_bytes(), ticking_rig.last_tick()
    assert ticking_rig.last_tick() > before
    ticking_rig.redis.restart_cut_at(cut)
    assert_does(ticking_rig, "running")
    assert_kept(ticking_rig)


def test_redis_forgets_the_second_in_which_a_state_changed(ticking_rig: Rig) -> None:
    for wish in ("paused", "running"):
        cut = ticking_rig.redis.log_bytes()
        ticking_rig.wish(wish)
        ticking_rig.until(f"it is {wish}", lambda wish=wish: ticking_rig.state() == wish)  # type: ignore[misc]
        ticking_rig.redis.restart_cut_at(cut)
        assert_does(ticking_rig, wish)
    assert_kept(ticking_rig)


def test_redis_at_its_memory_limit_as_ticks_fire_and_states_change(ticking_rig: Rig) -> None:
    """The broker is on that Redis and takes no hints: what ticks ask for happens, the flow drains, and that is known.

    So it does for processes that start at the limit.
    """
    ticking_rig.wish("paused")
    ticking_rig.until("no tick fires for now", lambda: ticking_rig.state() == "paused")
    ticking_rig.send()
    call(ticking_rig.client, "CONFIG", "SET", "maxmemory", int(ticking_rig.memory() * 0.9))
    try:
        for room in ("scheduler", "sync"):
            ticking_rig.kill(room)
        ticking_rig.wish("running")
        ticking_rig.until("states follow", lambda: ticking_rig.state() == "running")
        ticking_rig.until("all that was there has arrived", lambda: not ticking_rig.left())
        tick = ticking_rig.last_tick()
        ticking_rig.until("how its runs end is known", lambda: _has_ended(ticking_rig, tick))
        ticking_rig.wish("paused")
        ticking_rig.until("states follow both ways", lambda: ticking_rig.state() == "paused")
        ticking_rig.wish("running")
    finally:
        call(ticking_rig.client, "CONFIG", "SET", "maxmemory", 0)
    assert_does(ticking_rig, "running")
    assert_kept(ticking_rig)


def _has_ended(ticking_rig: Rig, tick: int) -> bool:
    return any(run["tick"] >= tick and run["state"] == "empty" for run in ticking_rig.record().get("history", ()))


def test_the_disk_of_redis_is_full_as_ticks_fire_and_states_change(ticking_rig: Rig) -> None:
    assert_waits_for_room(ticking_rig, ticking_rig.redis)
