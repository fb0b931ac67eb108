"""Consumers of processes that were killed with empty hands do not stay for ever."""

from __future__ import annotations

import time

import pytest

from dataflow.store.outcomes import Drop
from dataflow.store.redis import call
from tests.workers.rig import IN, NAME, Rig

pytestmark = pytest.mark.integration


def consumers(rig: Rig) -> list[bytes]:
    return sorted(row[1] for row in call(rig.redis, "XINFO", "CONSUMERS", rig.keys.stream(IN).stream, NAME))


def test_only_those_that_hold_nothing_and_are_silent_are_removed(rig: Rig) -> None:
    hop = rig.hop()
    rig.put(range(3))
    for name in ("awake", "busy", "idle"):
        (entry,) = hop.read(name, 1, 1)
        if name != "busy":
            hop.finish(name, [(entry, Drop())])
    silent_since = time.monotonic()
    while time.monotonic() - silent_since < 0.2:
        hop.renew(["busy"])
    rig.put([3])
    (entry,) = hop.read("awake", 1, 1)
    hop.finish("awake", [(entry, Drop())])
    assert hop.sweep(150) == 1
    assert consumers(rig) == [b"awake", b"busy"]
    assert hop.sweep(3_600_000) == 0
    rig.work(lambda message: None, predecessors=["busy"])
