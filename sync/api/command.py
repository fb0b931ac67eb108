"""The command `dataflow sync-api`."""

from __future__ import annotations

from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import click

from dataflow.access.listen import hosts_of, insecure_option, keys_required
from dataflow.cli.arguments import flow_argument

GRACE_S: Final = 5
"""How long requests in hand may take after SIGTERM; one that waits for a result can be sent again."""


@click.command("sync-api")
@flow_argument
@click.option("--host", help="Address to listen on; else as the flow file says.")
@click.option("--port", type=click.IntRange(1, 65535), help="Port to listen on; else as the flow file says.")
@click.option("--workers", type=click.IntRange(1, 64), default=1, show_default=True, help="Processes.")
@click.option("--threads", type=click.IntRange(2, 256), default=16, show_default=True, help="Threads in each.")
@insecure_option
def sync_api(flow: Path, host: str | None, port: int | None, workers: int, threads: int, insecure: bool) -> None:
    """Serve the HTTP API that runs the edges of FLOW, until SIGTERM or Ctrl-C.

    It asks `dataflow sync` to run them and moves nothing itself. See docs/SYNC_API.md.
    """
    from dataflow.connections import resolve
    from dataflow.flow.load import load
    from dataflow.settings import read_settings
    from dataflow.web.server import Server, place
    from sync.api.host import Host

    path = flow.resolve()
    declared = load(path)
    resolved = resolve(declared)
    _ = resolved.redis[declared.home]  # here an address that is missing is told in one clear line
    settings = read_settings()
    host = host or declared.sync.host
    required = keys_required(declared, host, settings, insecure=insecure)
    hosts = hosts_of(settings, insecure=insecure)
    bind = place(host, port or urlsplit(resolved.sync_url).port or declared.sync.port)
    waiters = max(1, threads // 2)  # may wait for results; the other threads always answer at once

    def start() -> Host:
        return Host(path, waiters, keys_required=required, hosts=hosts)

    Server("sync-api", bind, start, processes=workers, threads=threads, grace_s=GRACE_S).run()
