"""The command `dataflow sync`."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import click

from dataflow.cli.arguments import flow_argument


@click.command()
@flow_argument
@click.option(
    "--concurrency",
    type=click.IntRange(1, 256),
    default=4,
    show_default=True,
    help="How many edges that were asked for (by a schedule, by `dataflow run`) run at the same time.",
)
def sync(flow: Path, concurrency: int) -> None:
    """Run the edges of FLOW until SIGTERM or Ctrl-C.

    Edges without a `task` move messages all the time; the others when they are asked to. The embedded ClickHouse lives
    in this process, too. On a signal every edge finishes the batch in hand. Nothing is lost if it cannot.
    """
    path = flow.resolve()
    sys.path.append(str(path.parent))  # last: a folder `sync/` or `workers/` of the user must not shadow ours
    os.environ["DATAFLOW_FLOW"] = str(path)
    from sync.host import Host

    sys.exit(Host(path, concurrency).run())
