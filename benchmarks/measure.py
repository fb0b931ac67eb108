"""What a measurement is: contenders that do the same work in turn, and goals that compare them round by round.

Machines are shared and noisy, so absolute figures say little: contenders alternate within a run, each round gives one
ratio, and the median of the rounds is quoted with the lowest and the highest.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from benchmarks.lab import Lab


class CheckFailed(Exception):
    """A contender lost, doubled or changed messages: its figures are worth nothing."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One contender in one round: messages moved, the seconds that took, and other figures by name."""

    messages: int
    seconds: float
    facts: Mapping[str, float] = field(default_factory=dict)

    @property
    def rate(self) -> float:
        """Messages per second."""
        return self.messages / self.seconds


Round = Mapping[str, Sample]
"""Contender -> its sample in this round."""


@dataclass(frozen=True, slots=True)
class Contender:
    """One way to do the work of a job.

    Args:
        name: as it stands in the table.
        run: does the work with so many messages on fresh servers, checks the result (CheckFailed) and times it.
        share: its part of the job's messages: slow ones get fewer, so that a round stays short.
    """

    name: str
    run: Callable[[Lab, int], Sample]
    share: float = 1.0


@dataclass(frozen=True, slots=True)
class Goal:
    """What a job shall reach: a figure worked out of each round, and its bound."""

    text: str
    value: Callable[[Round], float]
    bound: float
    side: Literal["at least", "at most"] = "at least"

    def met(self, value: float) -> bool:
        """Whether a figure is on the right side of the bound."""
        return value >= self.bound if self.side == "at least" else value <= self.bound


@dataclass(frozen=True, slots=True)
class Curve:
    """What is drawn of a job: for each series the points (x, contender), its rate or what one message costs (µs)."""

    x: str
    y: str
    series: Mapping[str, Sequence[tuple[float, str]]]
    per_message: bool = False


@dataclass(frozen=True, slots=True)
class Job:
    """One row of the benchmark.

    Args:
        messages: how many, as a multiple of `--messages`.
        most_rounds: for jobs that take long.
    """

    name: str
    title: str
    contenders: Sequence[Contender]
    goals: Sequence[Goal]
    messages: float = 1.0
    most_rounds: int = 100
    curve: Curve | None = None


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a job.

    Args:
        error: why it was given up, "" if it was not.
        load: how many processes wanted to run, on average of the last minute, when each round began.
        seconds: how long it took, with the servers' starts and the checks.
    """

    job: Job
    rounds: Sequence[Round]
    error: str = ""
    load: Sequence[float] = ()
    seconds: float = 0.0

    def rate(self, contender: str) -> float:
        """Median messages per second."""
        return median(one[contender].rate for one in self.rounds)

    def fact(self, contender: str, name: str) -> float:
        """Median of another figure."""
        return median(one[contender].facts.get(name, 0.0) for one in self.rounds)

    def reached(self, goal: Goal) -> tuple[float, float, float]:
        """(median, lowest, highest) of a goal's figure over the rounds."""
        values = [goal.value(one) for one in self.rounds]
        return median(values), min(values), max(values)


def ratio(to: str | Sequence[str], bound: float, *, of: str = "ours", pick: Literal["best", "worst"] = "best") -> Goal:
    """A goal: our rate over another's, or over the best (or worst) of several."""
    names = [to] if isinstance(to, str) else list(to)
    choose = max if pick == "best" else min

    def value(one: Round) -> float:
        return one[of].rate / choose(one[name].rate for name in names)

    label = names[0] if len(names) == 1 else f"{pick} of ({', '.join(names)})"
    return Goal(f"{of} / {label}", value, bound)


def fact(name: str, bound: float, *, side: Literal["at least", "at most"], of: str = "ours") -> Goal:
    """A goal about a figure that a contender gives beside its time."""
    return Goal(f"{of}: {name}", lambda one: one[of].facts[name], bound, side)


def run_job(job: Job, lab: Lab, messages: int, rounds: int, say: Callable[[str], None]) -> Outcome:
    """Run every contender once a round, in an order that turns round each time. A failed check ends the job."""
    done: list[Round] = []
    load: list[float] = []
    begun = time.monotonic()
    n = max(100, int(messages * job.messages))
    for number in range(min(rounds, job.most_rounds)):
        order = job.contenders if number % 2 == 0 else job.contenders[::-1]
        samples: dict[str, Sample] = {}
        load.append(round(os.getloadavg()[0], 2))
        for contender in order:
            try:
                samples[contender.name] = contender.run(lab, max(100, int(n * contender.share)))
            except CheckFailed as error:
                return Outcome(job, done, f"{contender.name}: {error}", load, time.monotonic() - begun)
        done.append(samples)
        rates = ", ".join(f"{name} {sample.rate:,.0f}/s" for name, sample in samples.items())
        say(f"  {job.name}, round {number + 1}: {rates}")
    return Outcome(job, done, "", load, time.monotonic() - begun)
