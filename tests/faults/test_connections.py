"""The connection breaks at a request of every step: before, inside and after it, with the reply swallowed or stalled.

Required of each cell: whoever sent the request goes on (with the same batch, the same idempotency key), everything that
the hub accepted is in both tables once or among the dead letters, and the audit agrees.
"""

from __future__ import annotations

import pytest

from dataflow.store.script import script
from dataflow.testing.proxy import FAULTS, Fault, Proxy
from tests.faults.rig import Rig

pytestmark = pytest.mark.acceptance

REQUESTS = {
    "append": b":idem:",
    "read": b"XREADGROUP",
    "finish": b":attempts:",
    "lease": script("lease").sha.encode(),
    "fetch": b"XRANGE",
    "freeze": script("freeze").sha.encode(),
    "place": script("place", 6).sha.encode(),
    "settle": script("settle").sha.encode(),
}
"""Step -> what its request to Redis holds: the name of its script (of `place` the one for messages of six names, which
they are here), or a key."""


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("step", REQUESTS)
def test_a_connection_to_redis_breaks(step: str, fault: Fault, rig: Rig) -> None:
    _break(rig, rig.redis_proxy, fault, REQUESTS[step])


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("part", ["statement", "rows"])
def test_a_connection_to_clickhouse_breaks(part: str, fault: Fault, rig: Rig) -> None:
    """The server asks for the rows when it has the statement. Once it has them too, they are stored."""
    _break(rig, rig.clickhouse_proxy, fault, b"INSERT INTO", follow_up=part == "rows")


def _break(rig: Rig, proxy: Proxy, fault: Fault, within: bytes, *, follow_up: bool = False) -> None:
    proxy.arm(fault, within, follow_up=follow_up)
    with rig.stalled(proxy):
        rig.send()
        rig.until(f"the {fault} has happened", lambda: proxy.struck)
        rig.assert_whole()
