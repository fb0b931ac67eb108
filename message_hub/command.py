"""The command `dataflow hub`."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import urlsplit

import click

from dataflow.access.listen import hosts_of, insecure_option, keys_required
from dataflow.cli.arguments import flow_argument
from dataflow.connections import resolve
from dataflow.flow.load import load
from dataflow.flow.spec import Flow
from dataflow.settings import read_settings


@click.command()
@flow_argument
@click.option("--host", help="Address to listen on; else as the flow file says.")
@click.option("--port", type=click.IntRange(1, 65535), help="Port to listen on; else as the flow file says.")
@click.option("--workers", type=click.IntRange(1, 64), default=2, show_default=True, help="Processes.")
@click.option("--threads", type=click.IntRange(1, 256), default=4, show_default=True, help="Threads in each.")
@insecure_option
def hub(flow: Path, host: str | None, port: int | None, workers: int, threads: int, insecure: bool) -> None:
    """Run the message hub of FLOW until SIGTERM or Ctrl-C.

    Listening elsewhere than on loopback takes API keys (docs/SECURITY.md).

    After SIGTERM requests in hand are answered; after Ctrl-C they are not, and their senders send them again.
    """
    from dataflow.store.memory import check_at_start
    from dataflow.web.server import Server, place
    from message_hub.host import Host
    from message_hub.net import Net

    settings = read_settings()
    path = flow.resolve()
    declared = load(path)
    net = Net.of(declared, settings.redis_timeout_s)  # here an address that is missing is told in one clear line
    for client in net.redis.values():
        check_at_start(client)
        client.close()  # gunicorn forks
    host = host or declared.hub_host
    required = keys_required(declared, host, settings, insecure=insecure)
    hosts = hosts_of(settings, insecure=insecure)
    bind = place(host, port or _port(declared))

    def start() -> Host:
        return Host(path, bind, settings, keys_required=required, hosts=hosts)

    Server("hub", bind, start, processes=workers, threads=threads).run()


def _port(flow: Flow) -> int:
    """The port that `dataflow up` has chosen, if it runs; else the declared one."""
    return urlsplit(resolve(flow).hub_url).port or flow.hub_port
