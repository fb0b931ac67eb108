"""A handler that computes for about a millisecond: do two processes do twice the work?

A process asks for what it can handle in a second, so at the end one may work for a second while the other has nothing
left: the run has to be several seconds long, else that is what is measured.
"""

from __future__ import annotations

from benchmarks.jobs.hop import ours
from benchmarks.measure import Contender, Job, ratio

JOB = Job(
    "cpu_bound",
    "two processes on a CPU-bound handler",
    (Contender("two processes", ours("burn", "", 2)), Contender("one process", ours("burn", "", 1))),
    (ratio("one process", 1.7, of="two processes"),),
    messages=0.36,
)
