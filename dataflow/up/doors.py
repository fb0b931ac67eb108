"""Whether the doors of a flow may listen where the flow says, told before they are started."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping

import click

from dataflow.access.listen import NoKeys, keys_required
from dataflow.flow.spec import Flow
from dataflow.settings import read_settings


def check(flow: Flow, environ: Mapping[str, str] = os.environ) -> None:
    """Ask once whether hub, scheduler and sync API may listen elsewhere than on loopback, where they shall.

    Raises NoKeys: one would refuse to start, again and again.
    """
    insecure = click.BOOL.convert(environ.get("DATAFLOW_INSECURE") or "0", None, None)
    settings = read_settings(environ)
    for door, host in _doors(flow):
        try:
            keys_required(flow, host, settings, insecure=insecure)
        except NoKeys as error:
            raise NoKeys(f"the {door} would not start: {error}{_embedded(flow)}") from None


def _doors(flow: Flow) -> Iterator[tuple[str, str]]:
    yield "message hub", flow.hub_host
    if flow.scheduled:
        yield "scheduler", flow.scheduler.host
    if flow.edges:
        yield "sync API", flow.sync.host


def _embedded(flow: Flow) -> str:
    if not flow.connections[flow.home].embedded:
        return ""
    return (
        ". Keys lie in the embedded Redis, which `dataflow up` runs: make the first one while all listens on 127.0.0.1"
    )
