"""Whether a service may listen where it is told to."""

from __future__ import annotations

from contextlib import closing

import click

from dataflow.access.hosts import Hosts, is_loopback
from dataflow.access.ring import read_ring
from dataflow.connections import resolve
from dataflow.errors import OutcomeUnknown, ServerAway, UserError
from dataflow.flow.spec import Flow
from dataflow.settings import Settings
from dataflow.store.keys import Keys
from dataflow.store.redis import connect

insecure_option = click.option(
    "--insecure",
    is_flag=True,
    envvar="DATAFLOW_INSECURE",
    show_envvar=True,
    help="Listen elsewhere than on loopback though the flow has no keys: who reaches the port may do everything.",
)
"""--insecure, given to the command as `insecure`."""


class NoKeys(UserError):
    """A service was told to listen where others can reach it, and the flow has no keys."""


def keys_required(flow: Flow, host: str, settings: Settings, *, insecure: bool) -> bool:
    """Whether a service on this host must ask for keys even while the flow has none. Asks Redis once.

    While Redis is away that cannot be told, and the answer is yes: then nobody gets in until it is back.

    Raises NoKeys: it would let nobody in, or everybody; nothing was started.
    """
    if is_loopback(host) or insecure:
        return settings.require_keys
    if _has_keys(flow) is False:
        raise NoKeys(
            f"{host or 'every address'} can be reached from elsewhere, and the flow {flow.name!r} has no keys: make "
            f"one first (`dataflow key new NAME --scope produce`, with -f {flow.path}), or let everyone in who reaches "
            "the port (--insecure or DATAFLOW_INSECURE=1), or listen on 127.0.0.1"
        )
    return True


def hosts_of(settings: Settings, *, insecure: bool) -> Hosts | None:
    """The names by which a service without keys may be called; None: by any."""
    return None if insecure else Hosts(settings.host_names_listed)


def _has_keys(flow: Flow) -> bool | None:
    """None: it cannot be told just now."""
    try:
        with closing(connect(resolve(flow).redis[flow.home], timeout_s=2.0)) as redis:
            return bool(read_ring(redis, Keys(flow.name)))
    except (ServerAway, OutcomeUnknown):
        return None
