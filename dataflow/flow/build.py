"""What was read from a flow file -> the frozen classes of spec. Nothing here judges; rules do."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from dataflow.flow.expand import expand
from dataflow.flow.shape import LEAST_ROWS
from dataflow.flow.spec import (
    EMBEDDED,
    Connection,
    ConnectionKind,
    Edge,
    Flow,
    Route,
    Scheduler,
    Stream,
    SyncApi,
    Worker,
)

Values = Mapping[str, Any]

DEFAULT_CONNECTIONS: Mapping[str, tuple[ConnectionKind, str]] = {
    "main": ("redis", "${DATAFLOW_REDIS_URL:embedded}"),
    "warehouse": ("clickhouse", "${DATAFLOW_CLICKHOUSE_URL:embedded}"),
    "tasks": ("mongo", "${DATAFLOW_MONGO_URL:embedded}"),
}
"""What a file without `connections:` has."""

UNKNOWN: Any = ""
"""Direction of a stream that neither its name nor its declaration tells; a rule refuses it."""

KINDS: tuple[ConnectionKind, ...] = ("redis", "clickhouse", "mongo")

SERVICES = ("hub", "sync", "scheduler")
"""Sections with a host and a port to listen on."""


def flow(values: Values, path: Path, written: Any) -> Flow:
    """The flow of one file.

    Args:
        values: what shape.FILE read; connections filled in.
        path: the flow file.
        written: the file as plain data after expansion; only its digest is kept.
    """
    connections = {name: connection(name, one) for name, one in values["connections"].items()}
    home = next((one.name for one in connections.values() if one.kind == "redis"), "")
    return Flow(
        name=values["flow"],
        path=path,
        digest=digest(written, connections),
        connections=connections,
        streams={name: stream(name, one, home) for name, one in values["streams"].items()},
        workers={name: worker(name, one) for name, one in values["workers"].items()},
        edges={name: edge(name, one) for name, one in values["edges"].items()},
        hub_host=values["hub"]["host"],
        hub_port=values["hub"]["port"],
        scheduler=scheduler(values["scheduler"], connections),
        sync=SyncApi(**values["sync"]),
    )


def default_connections(environ: Mapping[str, str]) -> dict[str, dict[str, str | None]]:
    """Values of the connections that a file without `connections:` has."""
    blank: dict[str, str | None] = dict.fromkeys(KINDS)
    return {name: {**blank, kind: expand(url, environ)} for name, (kind, url) in DEFAULT_CONNECTIONS.items()}


def connection(name: str, values: Values) -> Connection:
    """A connection of the first kind that it gives."""
    kind: ConnectionKind = next((kind for kind in KINDS if values[kind] is not None), "redis")
    return Connection(name, kind, values[kind] or EMBEDDED, values.get("aliases") or ())


def stream(name: str, values: Values, home: str) -> Stream:
    """A stream; on the connection `home` where it names none."""
    accepts, keep = values["accepts"], values["keep"] or {}
    return Stream(
        name=name,
        on=home if values["on"] is None else values["on"],
        direction=values["direction"] or direction_of(name) or UNKNOWN,
        max_len=values["max_len"],
        schema=values["schema"],
        accepts=(accepts["task_for"], accepts["function_type"]) if accepts else None,
        keep_messages=keep.get("messages"),
        keep_hours=keep.get("hours"),
    )


def direction_of(name: str) -> Literal["in", "out"] | None:
    """What the end of a stream's name says."""
    if name.endswith(".stream_in"):
        return "in"
    return "out" if name.endswith(".stream_out") else None


def worker(name: str, values: Values) -> Worker:
    """A worker."""
    same = {key: value for key, value in values.items() if key not in ("from", "to", "params")}
    return Worker(name=name, source=values["from"], targets=values["to"], params=dict(values["params"]), **same)


def edge(name: str, values: Values) -> Edge:
    """An edge; its kind decides what `from` and `to` mean."""
    if values["kind"] == "mongo2s":
        return intake(name, values)
    to, to_table = values.get("to"), values["kind"] in ("s2ch", "s2mongo")
    named, _, table = (to or "").partition(".") if to_table else ("", "", "")
    same = ("kind", "create_table", "columns", "delivery", "batch", "max_wait_s", "lease_s", "join")
    absent = {"create_table": False, "columns": None, "database": None, "exclusive": False, "max_hops": None}
    return Edge(
        name=name,
        source=values["from"],
        to_stream=None if to_table else to,
        route=route(values.get("route")),
        connection=named or None,
        table=table or None,
        task=values["task"],
        min_batch=values["min_batch"] or min(LEAST_ROWS, values["batch"]),
        **{key: values.get(key, absent.get(key)) for key in (*same, "database", "exclusive", "max_hops")},
    )


def intake(name: str, values: Values) -> Edge:
    """An edge out of a collection."""
    connection, _, collection = values["from"].partition(".")
    same = ("kind", "database", "by", "fields", "id_field", "settle_s", "batch", "lease_s", "task")
    return Edge(
        name=name,
        source="",
        to_stream=values["to"],
        route=None,
        connection=connection or None,
        table=collection or None,
        create_table=False,
        columns=None,
        delivery="exactly_once",
        min_batch=1,
        max_wait_s=0.0,
        join="start",
        **{key: values[key] for key in same},
    )


def scheduler(values: Values | None, connections: Mapping[str, Connection]) -> Scheduler:
    """The scheduler; its documents are on the first mongo connection where it names none."""
    first = next((one.name for one in connections.values() if one.kind == "mongo"), None)
    if values is None:
        return Scheduler(tasks=first)
    return Scheduler(**{**values, "tasks": values["tasks"] or first}, declared=True)


def route(values: Values | None) -> Route | None:
    """A route, where there is one."""
    return None if values is None else Route(values["by"], values["cases"], values["other"])


def digest(written: Any, connections: Mapping[str, Connection]) -> str:
    """What the file says, as a hex digest: the same for another layout and other comments, and on each machine.

    Where servers are, with which secrets, and where services listen, is a matter of a machine and not of the flow.
    """
    servers = {name: [one.kind, *one.aliases] for name, one in connections.items()}
    services = {name: shared(written[name]) for name in SERVICES if name in written}
    text = json.dumps({**written, **services, "connections": servers}, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def shared(service: Any) -> Any:
    """What is written of a service, without where it listens."""
    if not isinstance(service, Mapping):
        return service
    return {key: value for key, value in service.items() if key not in ("host", "port")}
