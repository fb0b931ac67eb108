"""The real addresses of a flow's connections, the embedded ones included."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import TypeVar

from dataflow import run_file
from dataflow.errors import ServerAway
from dataflow.flow.spec import Flow
from dataflow.run_file import WarehouseAddress

__all__ = ["Addresses", "NotRunning", "Resolved", "WarehouseAddress", "hub_url", "resolve"]

A = TypeVar("A")

_VARIABLES = {"redis": "DATAFLOW_REDIS_URL", "clickhouse": "DATAFLOW_CLICKHOUSE_URL", "mongo": "DATAFLOW_MONGO_URL"}


class NotRunning(ServerAway):
    """An embedded server was asked for, but no `dataflow up` runs in the flow's folder."""


class Addresses(dict[str, A]):
    """Connection name -> address. Asking for an embedded server that does not run raises NotRunning."""

    def __init__(self, known: Mapping[str, A], explain: Callable[[str], str]) -> None:
        super().__init__(known)
        self._explain = explain

    def __missing__(self, name: str) -> A:
        raise NotRunning(self._explain(name))


@dataclass(frozen=True, slots=True)
class Resolved:
    """Where everything of a flow is right now.

    redis: connection name -> URL. warehouse: connection name -> URL of a ClickHouse server, or the
    WarehouseAddress of the embedded one. mongo: connection name -> URL. hub_url, scheduler_url, sync_url: base URL of
    the message hub and of the APIs of the scheduler and of the sync room, without a slash at the end.
    """

    redis: Mapping[str, str] = field(repr=False)
    warehouse: Mapping[str, str | WarehouseAddress] = field(repr=False)
    hub_url: str
    mongo: Mapping[str, str] = field(default_factory=dict, repr=False)
    scheduler_url: str = ""
    sync_url: str = ""


def resolve(flow: Flow) -> Resolved:
    """Look up where a flow's servers are. Reads one small file; contacts no server.

    Embedded connections are found through the run file of the `dataflow up` that runs in the flow's folder.
    When none runs, the result can still be used for everything that is not embedded; looking up an embedded
    connection raises NotRunning, which says what to do.
    """
    run = run_file.read(run_file.data_folder(flow.path))
    if run is not None and not (run.in_force and run.flow == flow.name):
        run = None

    explain = partial(_explanation, flow)
    redis: dict[str, str] = {**(run.redis if run else {}), **_urls(flow, "redis")}
    warehouse: dict[str, str | WarehouseAddress] = {
        **(run.warehouse if run else {}),
        **_urls(flow, "clickhouse"),
    }
    return Resolved(
        redis=Addresses(redis, explain),
        warehouse=Addresses(warehouse, explain),
        hub_url=run.hub if run else hub_url(flow, flow.hub_port),
        mongo=Addresses({**(run.mongo if run else {}), **_urls(flow, "mongo")}, explain),
        scheduler_url=(run.scheduler if run else "") or scheduler_url(flow, flow.scheduler.port),
        sync_url=(run.sync if run else "") or sync_url(flow, flow.sync.port),
    )


def _urls(flow: Flow, kind: str) -> dict[str, str]:
    return {c.name: c.url for c in flow.connections.values() if c.kind == kind and not c.embedded}


def hub_url(flow: Flow, port: int) -> str:
    """Where a hub of this flow answers from this machine: a server on all interfaces is asked on loopback."""
    return _door(flow.hub_host, port)


def scheduler_url(flow: Flow, port: int) -> str:
    """Where the scheduler's API of this flow answers from this machine."""
    return _door(flow.scheduler.host, port)


def sync_url(flow: Flow, port: int) -> str:
    """Where the sync room's API of this flow answers from this machine."""
    return _door(flow.sync.host, port)


def _door(listens_on: str, port: int) -> str:
    host = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}.get(listens_on, listens_on)
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def _explanation(flow: Flow, name: str) -> str:
    if name not in flow.connections:
        return f"flow {flow.name!r} has no connection {name!r}"
    variable = _VARIABLES.get(flow.connections[name].kind, "its URL")
    return (
        f"connection {name!r} is embedded, but `dataflow up` is not running flow {flow.name!r} in "
        f"{flow.path.resolve().parent}: start it there, or set {variable}"
    )
