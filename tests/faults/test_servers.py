"""A server is killed, stopped, frozen for longer than every time-out, or finds its disk or memory full, under load.

Required of each cell: nothing but waiting. Everything that the hub accepted is in both tables once or among the dead
letters, and the audit agrees.
"""

from __future__ import annotations

import pytest

from dataflow.client import Hub, HubBusy
from dataflow.errors import OutcomeUnknown, ServerAway
from dataflow.store.redis import call
from dataflow.testing.chaos.content import SENT, made
from tests.faults.rig import Rig

pytestmark = pytest.mark.acceptance

FROZEN_S = 6.0
"""Longer than a call to Redis waits (5 s), and than the leases of the flow (3 s)."""


@pytest.mark.parametrize("server", ["redis", "clickhouse"])
def test_a_server_is_killed_and_comes_back(server: str, rig: Rig) -> None:
    victim = getattr(rig, server)
    with rig.load():
        victim.kill()
        rig.pause(1.0)
        victim.start()
    rig.assert_whole()


@pytest.mark.parametrize("server", ["redis", "clickhouse"])
def test_a_server_is_stopped_in_order_and_comes_back(server: str, rig: Rig) -> None:
    with rig.load():
        getattr(rig, server).restart()
    rig.assert_whole()


@pytest.mark.parametrize("server", ["redis", "clickhouse"])
def test_a_server_stands_still_for_longer_than_every_timeout(server: str, rig: Rig) -> None:
    victim = getattr(rig, server)
    with rig.load():
        victim.freeze()
        rig.pause(FROZEN_S)
        victim.thaw()
    rig.assert_whole()


@pytest.mark.parametrize("server", ["redis", "clickhouse"])
def test_the_disk_of_a_server_is_full_for_a_while(server: str, rig: Rig) -> None:
    victim = getattr(rig, server)
    with rig.load():
        victim.fill_disk()
        rig.pause(3.0)
        victim.free_disk()
    rig.assert_whole()


def test_redis_at_its_memory_limit_drains_and_refuses_nothing_that_it_had_accepted(rig: Rig) -> None:
    with rig.frozen("worker.double", "worker.score", "sync"):
        rig.send(500)
        call(rig.client, "CONFIG", "SET", "maxmemory", int(rig.memory() * 0.98))
    try:
        with Hub(rig.hub_url, timeout_s=5, patience_s=0) as hub, pytest.raises((ServerAway, OutcomeUnknown, HubBusy)):
            hub.send(made(SENT, 0, 0))
        rig.until("all that was there has arrived, the limit still in force", lambda: not rig.left())
    finally:
        call(rig.client, "CONFIG", "SET", "maxmemory", 0)
    rig.send()
    rig.assert_whole()
