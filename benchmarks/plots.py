"""Draws the jobs that are curves."""

from __future__ import annotations

from pathlib import Path

from benchmarks.measure import Outcome


def draw(outcome: Outcome, folder: Path) -> Path | None:
    """Write `<job>.svg`. None, and nothing is written, for a job that is no curve or was given up."""
    curve = outcome.job.curve
    if curve is None or not outcome.rounds:
        return None
    import matplotlib as mpl

    mpl.use("svg")
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(figsize=(7, 4))
    for name, points in curve.series.items():
        rates = [outcome.rate(contender) for _, contender in points]
        axes.plot(
            [x for x, _ in points], [1e6 / rate if curve.per_message else rate for rate in rates], "o-", label=name
        )
    axes.set_xscale("log")
    axes.set_ylim(bottom=0)
    axes.set_xlabel(curve.x)
    axes.set_ylabel(curve.y)
    axes.grid(alpha=0.3)
    axes.legend()
    path = folder / f"{outcome.job.name}.svg"
    figure.savefig(path, metadata={"Date": None})
    plt.close(figure)
    return path
