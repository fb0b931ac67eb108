"""The scheduler and its MongoDB are struck: ticks fire once, states follow the wish, messages wait and arrive once."""

from __future__ import annotations

import pytest

from dataflow.store.script import script
from dataflow.testing.faultpoints import When
from dataflow.testing.proxy import Fault
from tests.faults.rig import Rig

pytestmark = pytest.mark.acceptance


@pytest.mark.parametrize(
    ("point", "when"),
    [
        ("tick", "before"),  # the tick has not fired: the successor makes up for it
        ("tick", "after"),  # it has fired and nobody was told: the hint is sent again
        ("hint", "after"),  # the run goes on without a scheduler, and the successor learns its outcome
    ],
)
def test_the_scheduler_dies_at_a_tick(point: str, when: When, scheduled_rig: Rig) -> None:
    rig = scheduled_rig
    rig.faults.arm(point, when, "kill")
    rig.send()
    rig.until(f"the scheduler died {when} {point}", lambda: rig.faults.struck(point, when) is not None)
    rig.send()
    rig.assert_whole()


@pytest.mark.parametrize("when", ["before", "after"])
def test_the_scheduler_dies_as_it_changes_a_state(when: When, scheduled_rig: Rig) -> None:
    rig = scheduled_rig
    rig.faults.arm("state", when, "kill")
    rig.wish("paused")
    rig.until("the scheduler died", lambda: rig.faults.struck("state", when) is not None)
    rig.until("its successor has done it", lambda: rig.state() == "paused")
    rig.wish("running")
    rig.until("and undone it", lambda: rig.state() == "running")
    rig.send()
    rig.assert_whole()


@pytest.mark.parametrize("fault", ["cut-before", "cut-inside", "swallow", "stall"])
def test_the_connection_breaks_at_a_tick(fault: Fault, scheduled_rig: Rig) -> None:
    rig = scheduled_rig
    rig.redis_proxy.arm(fault, script("tick").sha.encode())
    with rig.stalled(rig.redis_proxy):
        rig.send()
        rig.until(f"the {fault} has happened", lambda: rig.redis_proxy.struck)
        rig.assert_whole()


@pytest.mark.parametrize("fault", ["cut-before", "cut-inside", "swallow", "stall"])
def test_the_connection_breaks_at_a_change_of_state(fault: Fault, scheduled_rig: Rig) -> None:
    rig = scheduled_rig
    rig.mongo_proxy.arm(fault, b"running_status")
    with rig.stalled(rig.mongo_proxy):
        rig.wish("paused")
        rig.until(f"the {fault} has happened", lambda: rig.mongo_proxy.struck)
        rig.until("it is done all the same", lambda: rig.state() == "paused")
    rig.wish("running")
    rig.until("and undone", lambda: rig.state() == "running")
    rig.send()
    rig.assert_whole()
