"""The connection breaks at a request of every step: before, inside and after it, with the reply swallowed or stalled.

Required of each cell: whoever sent the request goes on (with the same batch, the same idempotency key), everything that
the hub accepted is in both tables once or among the dead letters, and the audit agrees.
"""

from __future__ import annotations

import pytest

from dataflow.store.script import script
from dataflow.testing.proxy import FAULTS, Fault
from tests.faults.rig import Rig

pytestmark = pytest.mark.acceptance

REQUESTS = {
    "append": script("append").sha.encode(),
    "read": b"XREADGROUP",
    "finish": script("finish").sha.encode(),
    "lease": script("lease").sha.encode(),
    "fetch": b"XRANGE",
    "freeze": script("freeze").sha.encode(),
    "place": script("place").sha.encode(),
    "settle": script("settle").sha.encode(),
}
"""Step -> what its request to Redis holds."""


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("step", REQUESTS)
def test_a_connection_to_redis_breaks(step: str, fault: Fault, rig: Rig) -> None:
    rig.redis_proxy.arm(fault, REQUESTS[step])
    if fault == "stall":
        rig.in_a_while(rig.redis_proxy.release)
    rig.send()
    rig.until(f"the {fault} has happened", lambda: rig.redis_proxy.struck)
    rig.assert_whole()


@pytest.mark.parametrize("fault", FAULTS)
def test_a_connection_to_clickhouse_breaks(fault: Fault, rig: Rig) -> None:
    rig.clickhouse_proxy.arm(fault, b"INSERT INTO")
    if fault == "stall":
        rig.in_a_while(rig.clickhouse_proxy.release)
    rig.send()
    rig.until(f"the {fault} has happened", lambda: rig.clickhouse_proxy.struck)
    rig.assert_whole()
