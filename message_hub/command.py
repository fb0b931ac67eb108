"""The command `dataflow hub`."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import urlsplit

import click

from dataflow.cli.arguments import flow_argument
from dataflow.connections import resolve
from dataflow.flow.load import load
from dataflow.settings import read_settings


@click.command()
@flow_argument
@click.option("--host", help="Address to listen on; else as the flow file says.")
@click.option("--port", type=click.IntRange(1, 65535), help="Port to listen on; else as the flow file says.")
@click.option("--workers", type=click.IntRange(1, 64), default=2, show_default=True, help="Processes.")
@click.option("--threads", type=click.IntRange(1, 256), default=4, show_default=True, help="Threads in each.")
def hub(flow: Path, host: str | None, port: int | None, workers: int, threads: int) -> None:
    """Run the message hub of FLOW until SIGTERM or Ctrl-C; requests in hand are answered first."""
    from message_hub.net import Net
    from message_hub.server import Server

    settings = read_settings()
    path = flow.resolve()
    declared = load(path)
    address = urlsplit(resolve(declared).hub_url)
    Net.of(declared, settings.redis_timeout_s)  # raises here, with one clear line, when an address is missing
    bind = f"{host or declared.hub_host}:{port or address.port or declared.hub_port}"
    Server(path, bind, workers, threads, settings).run()
