"""The command: python -m benchmarks [--only JOB ...] [--messages N] [--rounds N]."""

from __future__ import annotations

import json
import sys
from datetime import UTC, datetime
from pathlib import Path

import click

from benchmarks.jobs import JOBS
from benchmarks.lab import Lab
from benchmarks.machine import describe
from benchmarks.measure import Outcome, run_job
from benchmarks.plots import draw
from benchmarks.report import as_json, table

RESULTS = Path(__file__).parent / "results"


@click.command()
@click.option("--only", multiple=True, type=click.Choice([job.name for job in JOBS]), help="Jobs to run; else all.")
@click.option("--messages", type=click.IntRange(1000), default=50_000, show_default=True, help="Messages of a round.")
@click.option("--rounds", type=click.IntRange(1, 100), default=3, show_default=True, help="Rounds; medians are quoted.")
@click.option("--results", type=click.Path(path_type=Path), default=RESULTS, help="Folder for latest.json and plots.")
def main(only: tuple[str, ...], messages: int, rounds: int, results: Path) -> None:
    """Measure side by side on real local servers. Exits with 1 when a contender lost, doubled or changed messages."""
    machine = describe()
    click.echo("\n".join(f"{name}: {value}" for name, value in machine.items()))
    chosen = [job for job in JOBS if not only or job.name in only]
    outcomes: list[Outcome] = []
    when = datetime.now(UTC).isoformat(timespec="seconds")
    results.mkdir(parents=True, exist_ok=True)
    with Lab() as lab:
        for job in chosen:
            outcome = run_job(job, lab, messages, rounds, lambda line: click.echo(line, err=True))
            click.echo(table([outcome]))
            outcomes.append(outcome)
            draw(outcome, results)
            text = json.dumps(as_json(outcomes, machine, when, {"messages": messages, "rounds": rounds}), indent=1)
            (results / "latest.json").write_text(text + "\n", encoding="utf-8")
    sys.exit(any(outcome.error for outcome in outcomes))


if __name__ == "__main__":
    main()
