"""The MongoDB of a schedule is away, forgets its last seconds or has no room while ticks fire and states change.

What is required of each cell is in `tests.faults.schedule`.
"""

from __future__ import annotations

import pytest

from tests.faults.rig import Rig
from tests.faults.schedule import BLOWS, TICKS_S, Blow, assert_does, assert_kept, assert_waits_for_room, struck

pytestmark = pytest.mark.acceptance


@pytest.mark.parametrize("blow", BLOWS)
def test_mongodb_is_away_as_ticks_fire_and_states_change(blow: Blow, ticking_rig: Rig) -> None:
    with struck(ticking_rig.mongo, blow):
        ticking_rig.send()
        ticking_rig.assert_whole()  # with what the scheduler knows, it goes on without
    for wish in ("paused", "running"):
        ticking_rig.wish(wish)
        with struck(ticking_rig.mongo, blow):
            ticking_rig.pause(1.0)
        assert_does(ticking_rig, wish)
    assert_kept(ticking_rig)


@pytest.mark.parametrize("scheduler", ["lives", "is replaced"])
def test_mongodb_forgets_ticks(scheduler: str, ticking_rig: Rig) -> None:
    snapshot, before = ticking_rig.mongo.snapshot(), ticking_rig.record()["last_tick"]
    ticking_rig.send()
    ticking_rig.until("two ticks have fired", lambda: ticking_rig.record()["last_tick"] >= before + 2 * TICKS_S * 1000)
    fired = ticking_rig.last_tick()
    if scheduler == "is replaced":  # its successor knows of those ticks by Redis alone
        ticking_rig.kill("scheduler")
    ticking_rig.mongo.restart_from(snapshot)
    assert ticking_rig.record()["last_tick"] == before
    ticking_rig.until("ticks go on where Redis knows them to be", lambda: ticking_rig.last_tick() > fired)
    ticking_rig.until("and are written down", lambda: ticking_rig.record()["last_tick"] > fired)
    assert_kept(ticking_rig)


def test_mongodb_forgets_that_a_state_changed(ticking_rig: Rig) -> None:
    before = ticking_rig.mongo.snapshot()
    ticking_rig.wish("paused")
    wished = ticking_rig.mongo.snapshot()
    ticking_rig.until("it is paused", lambda: ticking_rig.state() == "paused")
    ticking_rig.mongo.restart_from(before)  # the wish is forgotten, too
    assert_does(ticking_rig, "running")
    ticking_rig.mongo.restart_from(wished)  # the wish is known, and that it was fulfilled is not
    assert_does(ticking_rig, "paused")
    ticking_rig.mongo.restart_from(before)
    assert_does(ticking_rig, "running")
    assert_kept(ticking_rig)


def test_the_disk_of_mongodb_is_full_as_ticks_fire_and_states_change(ticking_rig: Rig) -> None:
    assert_waits_for_room(ticking_rig, ticking_rig.mongo)
