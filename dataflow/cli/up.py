"""`dataflow up` and `dataflow down`."""

from __future__ import annotations

from pathlib import Path

import click
from rich.console import Console

from dataflow import log
from dataflow.cli.common import with_flow
from dataflow.flow.load import load
from dataflow.up import background
from dataflow.up.child import rotate
from dataflow.up.folder import DataFolder
from dataflow.up.page import addresses, hints
from dataflow.up.run import run
from dataflow.up.screen import LiveScreen, PlainScreen


@click.command()
@with_flow
@click.option("-d", "--detach", is_flag=True, help="Run in the background; return when everything is up.")
@click.option(
    "--hub-port",
    type=click.IntRange(0, 65535),
    help="Port of the message hub instead of the flow file's; 0 for any free one.",
)
@click.option(
    "--timeout",
    "timeout_s",
    type=click.FloatRange(min=0),
    default=90.0,
    show_default=True,
    help="Seconds that -d waits for everything to be up.",
)
@click.pass_context
def up(ctx: click.Context, flow_path: Path, detach: bool, hub_port: int | None, timeout_s: float) -> None:
    """Run everything of FLOW: embedded servers where no URL is set, the hub, the workers, the edges.

    Data live in `.dataflow/` beside the flow file. What ends is started again. Ctrl-C stops in order: hub, workers,
    edges, servers; a second Ctrl-C stops at once. Nothing is lost either way.
    """
    options = ctx.find_root().params
    if detach:
        _detached(flow_path, hub_port, timeout_s, options["log_level"], options["log_format"])
        return
    console = Console()
    if not console.is_terminal:
        run(load(flow_path), PlainScreen(), hub_port)
        return
    flow = load(flow_path)
    with _log_to_file(DataFolder.of(flow_path)).open("a") as file:
        log.configure(options["log_level"], options["log_format"], file)
        run(flow, LiveScreen(console), hub_port)


@click.command()
@with_flow
@click.option(
    "--timeout",
    "timeout_s",
    type=click.FloatRange(min=0),
    default=120.0,
    show_default=True,
    help="Seconds for an orderly stop; then everything is ended at once.",
)
def down(flow_path: Path, timeout_s: float) -> None:
    """Stop what `dataflow up` started for FLOW, in order, and wait for it. Nothing is lost."""
    process = background.stop(DataFolder.of(flow_path), timeout_s)
    said = f"stopped (pid {process.pid})" if process else "nothing runs"
    click.echo(f"{said} in {flow_path.resolve().parent}", err=True)


def _detached(flow_path: Path, hub_port: int | None, timeout_s: float, level: str, form: str) -> None:
    load(flow_path)  # problems of the flow file are told here, not in a log
    folder = DataFolder.of(flow_path)
    port = [] if hub_port is None else ["--hub-port", str(hub_port)]
    arguments = ["--log-level", level, "--log-format", form, "up", str(flow_path.resolve()), *port]
    running = background.start(folder, arguments, timeout_s)
    for line in (*addresses(running), *hints(flow_path.resolve(), running, folder.logs)):
        click.echo(line)


def _log_to_file(folder: DataFolder) -> Path:
    folder.create()
    path = folder.logs / background.LOG_NAME
    rotate(path)
    return path
