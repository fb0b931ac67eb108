"""The command `dataflow scheduler`."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from dataflow.access.listen import hosts_of, insecure_option, keys_required
from dataflow.cli.arguments import flow_argument


@click.command()
@flow_argument
@click.option("--host", help="Address to listen on; else as the flow file says.")
@click.option("--port", type=click.IntRange(1, 65535), help="Port to listen on; else as the flow file says.")
@click.option("--threads", type=click.IntRange(1, 64), default=4, show_default=True, help="Requests at the same time.")
@insecure_option
def scheduler(flow: Path, host: str | None, port: int | None, threads: int, insecure: bool) -> None:
    """Run the tasks of FLOW until SIGTERM or Ctrl-C, and serve the HTTP API of tasks.

    Listening elsewhere than on loopback takes API keys (docs/SECURITY.md).

    Of several for one machine name one leads and the others stand by. See docs/SCHEDULES.md.
    """
    from dataflow.flow.load import load
    from dataflow.settings import read_settings
    from dataflow.web.server import Server, place
    from scheduler.addresses import addresses
    from scheduler.host import Host

    path = flow.resolve()
    sys.path.append(str(path.parent))  # for jobs; last: a folder of the user's must not shadow ours
    declared = load(path)
    addresses(declared)  # here an address that is missing is told in one clear line
    settings = read_settings()
    host = host or declared.scheduler.host
    required = keys_required(declared, host, settings, insecure=insecure)
    hosts = hosts_of(settings, insecure=insecure)
    bind = place(host, port or declared.scheduler.port)

    def start() -> Host:
        return Host.started(path, keys_required=required, hosts=hosts)

    Server("scheduler", bind, start, processes=1, threads=threads).run()  # one process, for there is one loop
