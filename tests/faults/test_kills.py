"""kill -9 just before and just after the effect of every step: whatever was accepted arrives once.

Required of each cell: the process that died is replaced, everything that the hub accepted before and after is in both
tables once or among the dead letters, and the audit agrees.
"""

from __future__ import annotations

import pytest

from dataflow.testing.faultpoints import POINTS, When
from tests.faults.rig import Rig

pytestmark = pytest.mark.acceptance

OF_THE_SCHEDULER = ("tick", "hint", "state")


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("point", [point for point in POINTS if point not in OF_THE_SCHEDULER])
def test_a_process_dies_at_a_step(point: str, when: When, rig: Rig) -> None:
    rig.faults.arm(point, when, "kill")
    rig.send()
    rig.until(f"a process died {when} {point}", lambda: rig.faults.struck(point, when) is not None)
    rig.send()
    rig.assert_whole()
