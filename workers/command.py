"""The command `dataflow worker`."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from workers.parent import Parent


@click.command()
@click.argument("flow", type=click.Path(path_type=Path))
@click.argument("name")
@click.option("--processes", type=click.IntRange(1, 256), help="How many processes; else as the flow file says.")
def worker(flow: Path, name: str, processes: int | None) -> None:
    """Run worker NAME of FLOW (a file) until SIGTERM or Ctrl-C.

    The first signal lets every process finish the message in hand; a second one ends them at once. Nothing is lost
    either way. Exit codes: 0 stopped, 1 the flow file has problems, 2 the handler cannot be used, 3 no server.
    """
    sys.exit(Parent(flow, name, processes).run())
