"""How throughput depends on the batch, and what a message costs as the backlog grows: one contender per point."""

from __future__ import annotations

from benchmarks.jobs.backlog import worker
from benchmarks.jobs.hop import floor, ours
from benchmarks.measure import Contender, Curve, Job

BATCHES = {1: 0.02, 5: 0.05, 20: 0.2, 100: 0.5, 500: 1.0}
"""Batch -> part of the messages: small ones are slow."""
BACKLOGS = (1, 10, 40)
"""Multiples of the messages that are timed."""


def _batch(size: int) -> tuple[Contender, Contender]:
    more = f", batch_handler: list, batch: {size}"
    share = BATCHES[size]
    return Contender(f"ours, {size}", ours("many", more), share), Contender(
        f"floor, {size}", floor("many", size), share
    )


BATCH = Job(
    "curve_batch",
    "messages per second against batch size",
    [contender for size in BATCHES for contender in _batch(size)],
    (),
    messages=0.5,
    most_rounds=1,
    curve=Curve(
        "batch size", "messages per second",
        {name: [(size, f"{name}, {size}") for size in BATCHES] for name in ("ours", "floor")},
    ),
)  # fmt: skip
BACKLOG = Job(
    "curve_backlog",
    "µs per message against the backlog",
    [Contender(f"backlog x {times}", worker(times)) for times in BACKLOGS],
    (),
    messages=0.5,
    most_rounds=1,
    curve=Curve(
        "backlog, as a multiple of the messages that are timed", "µs per message",
        {"ours": [(times, f"backlog x {times}") for times in BACKLOGS]}, per_message=True,
    ),
)  # fmt: skip
