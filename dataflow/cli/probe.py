"""`dataflow probe`: does a process of this machine do its work? For the health checks of containers."""

from __future__ import annotations

import socket
import time
from pathlib import Path
from typing import Final

import click
import httpx

from dataflow.cli.common import Site, flow_option, split_flow
from dataflow.errors import DataflowError
from dataflow.store.live import SILENT_AFTER_S, live

KINDS: Final = ("hub", "scheduler", "sync-api", "sync", "worker")
TIMEOUT_S: Final = 5.0


class NotWell(DataflowError):
    """The process does not do its work."""


@click.command()
@click.argument("words", nargs=-1, required=True, metavar="[FLOW] KIND [NAME]")
@flow_option
def probe(words: tuple[str, ...], flow_path: Path | None) -> None:
    """Exit with 0 if a process of FLOW on this machine does its work.

    KIND is hub, scheduler, sync-api, sync or worker; a worker has a NAME. The first three answer that they are ready;
    the others have sent a heartbeat within the last ten seconds, and everything in them has been set up.
    """
    path, rest = split_flow(words, flow_path)
    kind, name = (rest[0], rest[-1]) if rest else ("", "")
    if kind not in KINDS or len(rest) != (2 if kind == "worker" else 1):
        raise click.UsageError("name one of hub, scheduler, sync-api, sync, worker NAME")
    with Site(path) as site:
        found = site.resolved
        doors = {"hub": found.hub_url, "scheduler": found.scheduler_url, "sync-api": found.sync_url}
        if kind in doors:
            _answers(f"{doors[kind]}/readyz")
        else:
            _beats(site, kind, name)


def _answers(url: str) -> None:
    try:
        answer = httpx.get(url, timeout=TIMEOUT_S, trust_env=False)
    except httpx.HTTPError as error:
        raise NotWell(f"{url} does not answer: {error}") from None
    if answer.status_code != 200:
        raise NotWell(f"{url} answers {answer.status_code}: {answer.text[:200]}")


def _beats(site: Site, kind: str, name: str) -> None:
    """Every process writes its heartbeat to the Redis that it works on."""
    ours = f"{name}@{socket.gethostname()}."
    for connection in site.connections:
        for one in live(site.client(connection), site.keys):
            fresh = time.time() - one.at_ms / 1000 < SILENT_AFTER_S
            if one.kind == kind and one.process.startswith(ours) and fresh and one.facts.get("ready", True):
                return
    raise NotWell(f"no {kind} {name} on this machine has been heard of within the last ten seconds")
