"""The jobs of the benchmark: one file each, listed in the order in which they run."""

from __future__ import annotations

from collections.abc import Sequence

from benchmarks.jobs import backlog, cpu, curves, hop, hub, latency, s2ch, s2s, tasks
from benchmarks.measure import Job

JOBS: Sequence[Job] = (
    hop.BATCH,
    hop.ONE,
    hop.TWO_PROCESSES,
    s2ch.SERVER,
    s2ch.EMBEDDED,
    s2s.JOB,
    hub.ONE,
    hub.MANY,
    latency.JOB,
    cpu.JOB,
    backlog.WORKER,
    backlog.JOB,
    tasks.JOB,
    curves.BATCH,
    curves.BACKLOG,
)
