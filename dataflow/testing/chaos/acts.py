"""What chaos does, to whom and when. Pure: the same seed gives the same acts."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

What = Literal["kill", "freeze"]

WEIGHTS: Mapping[str, int] = {
    "redis.main": 3,
    "clickhouse": 3,
    "mongo.tasks": 1,
    "hub": 2,
    "hub/child": 3,
    "worker.double": 2,
    "worker.double/child": 4,
    "worker.score": 2,
    "worker.score/child": 4,
    "sync": 4,
    "sync#2": 4,
    "scheduler": 2,
    "scheduler#2": 2,
    "up": 1,
}
"""Who is chosen, and how often beside the others. `<name>/child` is any process below that one; `<name>#2` one that
runs beside it."""

FREEZES = 0.25
"""Share of acts that only stop a process for a while (SIGSTOP, SIGCONT)."""
LONGEST_FREEZE_S = 9.0
"""Longer than the leases of the flow, and than a call to a server may take."""
PAUSE_S = 2.0
"""Mean time between two acts."""


@dataclass(frozen=True, slots=True)
class Act:
    """One blow. `pick` in [0, 1) chooses among several processes of that name. `for_s`: how long a freeze lasts, or how
    long a server that nobody supervises stays away.
    """

    at_s: float
    what: What
    victim: str
    pick: float
    for_s: float


def acts(seed: int, duration_s: float, pause_s: float = PAUSE_S) -> Iterator[Act]:
    """The acts of a run in order of time, `pause_s` seconds apart on average, all before `duration_s`."""
    dice = random.Random(seed)
    at_s = dice.expovariate(1 / pause_s)
    while at_s < duration_s:
        yield _act(dice, at_s)
        at_s += dice.expovariate(1 / pause_s)


def _act(dice: random.Random, at_s: float) -> Act:
    (victim,) = dice.choices(list(WEIGHTS), list(WEIGHTS.values()))
    what: What = "freeze" if dice.random() < FREEZES and victim != "up" else "kill"
    for_s = dice.uniform(0.2, LONGEST_FREEZE_S) if what == "freeze" else dice.uniform(0.0, 3.0)
    return Act(at_s, what, victim, dice.random(), for_s)
