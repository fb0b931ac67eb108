"""The results as a table for people and as JSON for programs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from statistics import median
from typing import Any

from benchmarks.measure import Outcome


def table(outcomes: Sequence[Outcome]) -> str:
    """Every job with its rates, and its goals beside what was reached."""
    return "\n".join(line for outcome in outcomes for line in _lines(outcome))


def as_json(outcomes: Sequence[Outcome], machine: Mapping[str, str], when: str, settings: Mapping[str, Any]) -> Any:
    """Everything that was measured."""
    return {"when": when, "machine": dict(machine), **settings, "jobs": {one.job.name: _job(one) for one in outcomes}}


def _lines(outcome: Outcome) -> Iterator[str]:
    job = outcome.job
    load = ", ".join(f"{one:.1f}" for one in outcome.load)
    yield f"{job.name}: {job.title}   ({outcome.seconds:.0f} s, load {load})"
    if outcome.error:
        yield f"    CHECK FAILED  {outcome.error}"
    if not outcome.rounds:
        return
    for contender in job.contenders:
        sample = outcome.rounds[0][contender.name]
        facts = "".join(f"   {name} {outcome.fact(contender.name, name):.4g}" for name in sample.facts)
        yield f"    {contender.name:<28}{outcome.rate(contender.name):>12,.0f} /s{facts}"
    for goal in job.goals:
        value, low, high = outcome.reached(goal)
        verdict = "met" if goal.met(value) else "NOT MET"
        spread = f"({low:.3g} to {high:.3g})"
        yield f"      {goal.text:<64}{value:>8.3g} {spread:<20} {goal.side} {goal.bound:<8g} {verdict}"


def _job(outcome: Outcome) -> dict[str, Any]:
    contenders = {
        one.name: {
            "rate": [round_[one.name].rate for round_ in outcome.rounds],
            "messages": [round_[one.name].messages for round_ in outcome.rounds],
            "facts": {
                name: [round_[one.name].facts.get(name) for round_ in outcome.rounds]
                for name in (outcome.rounds[0][one.name].facts if outcome.rounds else ())
            },
        }
        for one in outcome.job.contenders
    }
    goals = [
        {
            "goal": goal.text, "side": goal.side, "bound": goal.bound,
            "rounds": [goal.value(one) for one in outcome.rounds],
            "median": median(goal.value(one) for one in outcome.rounds),
            "met": goal.met(outcome.reached(goal)[0]),
        }
        for goal in (outcome.job.goals if outcome.rounds else ())
    ]  # fmt: skip
    return {
        "title": outcome.job.title, "error": outcome.error, "seconds": round(outcome.seconds, 1),
        "load": list(outcome.load), "contenders": contenders, "goals": goals,
    }  # fmt: skip
