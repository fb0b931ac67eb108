"""A Redis that answers but takes no writes: the worker waits, as for one that is away."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from dataflow.errors import ServerAway
from dataflow.store.redis import call
from tests.workers.rig import Rig

pytestmark = pytest.mark.integration


@pytest.fixture(params=["no replicas", "read only"])
def refusing(request: pytest.FixtureRequest, rig: Rig) -> Iterator[Callable[[bool], None]]:
    """Makes the server refuse writes, and take them again."""

    def refuse(on: bool) -> None:
        if request.param == "no replicas":
            call(rig.redis, "CONFIG", "SET", "min-replicas-to-write", int(on))
        else:
            call(rig.redis, "REPLICAOF", *(("127.0.0.1", "1") if on else ("NO", "ONE")))

    yield refuse
    refuse(False)


def test_writes_that_are_refused_are_waited_for(rig: Rig, refusing: Callable[[bool], None]) -> None:
    rig.put(range(20))

    def handle(message: dict[str, int]) -> dict[str, int]:
        if message["n"] == 10 and not rig.troubles:
            refusing(True)
        return {"n": message["n"]}

    def trouble(error: object) -> None:
        if len(rig.troubles) == 3:
            refusing(False)

    rig.work(handle, trouble=trouble, settle_every_s=0.0)
    assert rig.out() == list(range(20))
    assert all(isinstance(error, ServerAway) for error in rig.troubles)
