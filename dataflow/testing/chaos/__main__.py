"""`python -m dataflow.testing.chaos`: kill the processes of a running flow at random, and count."""

from __future__ import annotations

import shutil
import signal
import sys
import tempfile
from pathlib import Path

import click

from dataflow import log
from dataflow.testing.chaos.run import run, to_stderr


@click.command()
@click.option("--seed", type=int, default=1, show_default=True, help="The same seed strikes in the same way.")
@click.option(
    "--duration", "duration_s", type=click.FloatRange(min=1, max=86_400), default=60.0, show_default=True,
    help="Seconds of blows; some minutes more until all has arrived.",
)  # fmt: skip
@click.option("--keep", is_flag=True, help="Keep the folder even if all is well.")
def main(seed: int, duration_s: float, keep: bool) -> None:
    """Run a flow of its own, kill its processes and servers at random while clients send, then count every message.

    The last line of stdout is the count. Exit code 0 if nothing was lost, doubled or changed and the
    audit agrees; else 1, with the messages, where they are, and the folder, on stderr.
    """
    log.configure("error", "console", sys.stderr)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # in order: what was started is ended
    folder = Path(tempfile.mkdtemp(prefix="dataflow-chaos-"))
    to_stderr(f"chaos: seed {seed}, {duration_s:g} s, in {folder}")
    outcome = run(folder, seed, duration_s, to_stderr)
    for problem in outcome.problems:
        to_stderr(problem)
    if outcome.clean and not keep:
        shutil.rmtree(folder, ignore_errors=True)
    else:
        to_stderr(f"everything is still in {folder}")
    click.echo(outcome.tally.line(outcome.kills))
    sys.exit(0 if outcome.clean else 1)


if __name__ == "__main__":
    main()
