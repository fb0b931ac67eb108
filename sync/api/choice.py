"""Which declared edge a body means, and how far its run may go. Pure.

A body says where messages are and where they shall go. It chooses among the edges of the flow, and never adds to them:
whatever it says must be what the flow has declared, else the request is refused and told what is declared.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

from dataflow.aliases import is_meant
from dataflow.clickhouse.address import ServerAddress
from dataflow.faults import show
from dataflow.flow.spec import Connection, Edge, Flow
from dataflow.web.answer import Refusal
from sync.api import body
from sync.api.body import Bounds

Kind = Literal["s2s", "s2ch"]

_BOUNDS: Final = ("source_read_batch_num", "target_write_batch_num", "max_exec_cnt")
_SOURCE: Final = ("source_redis_agent_host", "source_connection_hash")
_TARGET: Final = ("target_redis_agent_host", "target_connection_hash")
_CLICKHOUSE: Final = ("target_ch_host", "target_ch_port", "target_ch_database", "target_ch_user")
KEYS: Final[Mapping[Kind, tuple[str, ...]]] = {
    "s2s": ("edge", *_BOUNDS, *_SOURCE, *_TARGET, "source_stream", "target_stream", "target_q_max_len"),
    "s2ch": (
        "edge", *_BOUNDS, *_SOURCE, "source_stream", *_CLICKHOUSE,
        "target_ch_insert_cols", "target_ch_insert_pid_name", "target_ch_insert2table_name",
    ),
}  # fmt: skip
"""What a body for each kind of edge may hold."""
_TARGET_KEY: Final[Mapping[Kind, str]] = {"s2s": "target_stream", "s2ch": "target_ch_insert2table_name"}


@dataclass(frozen=True, slots=True)
class Wish:
    """A run that is asked for: a declared edge, and its bounds."""

    edge: Edge
    bounds: Bounds


def chosen(flow: Flow, kind: Kind, given: Mapping[str, Any]) -> Wish:
    """The edge of this kind that a body means. Raises Refusal."""
    body.known_only(given, KEYS[kind])
    edge = _edge(flow, kind, given)
    _check_servers(flow, edge, given)
    _check_stream(flow, edge, given)
    _check_table(flow, edge, given)
    most = body.least(body.count(given, "source_read_batch_num"), body.count(given, "target_write_batch_num"))
    return Wish(edge, Bounds(body.count(given, "max_exec_cnt"), most))


def named(flow: Flow, name: str) -> Edge:
    """The edge of this name. Raises Refusal."""
    if name not in flow.edges:
        raise Refusal(404, f"flow {flow.name!r} has no edge {show(name)!r} (it has: {', '.join(flow.edges) or 'none'})")
    return flow.edges[name]


def target_of(edge: Edge) -> str:
    """Where an edge leads, in words."""
    return f"{edge.connection}.{edge.table}" if edge.table and edge.source else ", ".join(edge.target_streams)


def _edge(flow: Flow, kind: Kind, given: Mapping[str, Any]) -> Edge:
    source, target = body.text(given, "source_stream"), body.text(given, _TARGET_KEY[kind])
    name = body.text(given, "edge")
    if name is not None:
        edge = named(flow, name)
        if edge.kind != kind:
            raise Refusal(422, f"edge {name!r} is of kind {edge.kind}, not {kind}: POST it to /{edge.kind}/")
        _check_ends(edge, source, target)
        return edge
    if source is None or target is None:
        raise Refusal(422, f"the body must name an edge, or source_stream and {_TARGET_KEY[kind]}")
    found = [one for one in flow.edges.values() if one.kind == kind and _leads(one, source, target)]
    if len(found) == 1:
        return found[0]
    if found:
        names = ", ".join(one.name for one in found)
        raise Refusal(422, f"several edges lead there ({names}): say which, by {{'edge': ...}}")
    raise Refusal(422, _no_edge(flow, kind, source, target), edges=_ends(flow, kind))


def _leads(edge: Edge, source: str, target: str) -> bool:
    return edge.source == source and target in (edge.to_stream, edge.table)


def _check_ends(edge: Edge, source: str | None, target: str | None) -> None:
    ends = edge.to_stream or edge.table
    if source not in (None, edge.source) or target not in (None, ends):
        raise Refusal(422, f"edge {edge.name!r} leads from {edge.source} to {target_of(edge)}; the body says otherwise")


def _no_edge(flow: Flow, kind: Kind, source: str, target: str) -> str:
    beside = [one.name for one in flow.edges.values() if one.source == source and one.kind == kind]
    hint = f"; from that stream there are: {', '.join(beside)}" if beside else ""
    return (
        f"the flow declares no edge of kind {kind} from {show(source)} to {show(target)}{hint}. Declare it in the flow "
        "file and `dataflow apply`, or name one that it has"
    )


def _ends(flow: Flow, kind: Kind) -> list[dict[str, str]]:
    edges = [one for one in flow.edges.values() if one.kind == kind]
    return [{"edge": one.name, "from": one.source, "to": target_of(one)} for one in edges]


# servers


def _check_servers(flow: Flow, edge: Edge, given: Mapping[str, Any]) -> None:
    _check_redis(flow, edge.source, given, _SOURCE)
    if edge.to_stream is not None:
        _check_redis(flow, edge.to_stream, given, _TARGET)
    elif edge.connection is not None:
        _check_clickhouse(flow.connections[edge.connection], given)
    elif any(name in given for name in _TARGET):
        raise Refusal(422, f"edge {edge.name!r} has a route: leave {' and '.join(_TARGET)} out")


def _check_redis(flow: Flow, stream: str, given: Mapping[str, Any], names: Iterable[str]) -> None:
    connection = flow.connections[flow.streams[stream].on]
    for name in names:
        word = body.address(given, name)
        if word is not None and not is_meant(connection, [word]):
            raise Refusal(
                422,
                f"{name} {show(word)!r} is not known as connection {connection.name!r}, which stream {stream} is on. "
                f"If it is that server, list it in the flow file: connections: {{{connection.name}: {{redis: ..., "
                f"aliases: [...]}}}}, and `dataflow apply`. No address from a request is ever connected to",
            )


def _check_clickhouse(connection: Connection, given: Mapping[str, Any]) -> None:
    host, port = body.address(given, "target_ch_host"), body.count(given, "target_ch_port")
    place = None if host is None else _place(host, port)
    if place is not None and not is_meant(connection, [place]):
        raise Refusal(
            422,
            f"target_ch_host and target_ch_port ({show(place)}) are not known as connection {connection.name!r}. If it "
            f"is that server, list `{show(place)}` in the flow file: connections: {{{connection.name}: {{clickhouse: "
            "..., aliases: [...]}}, and `dataflow apply`. No address from a request is ever connected to",
        )
    if host is None and port is not None:
        raise Refusal(422, "target_ch_port without target_ch_host says nothing: give both, or none")
    declared = None if connection.embedded else ServerAddress.read(connection.url)
    database = "default" if declared is None else declared.database or "default"
    _check_same(given, "target_ch_database", database, f"connection {connection.name!r}")
    user = body.text(given, "target_ch_user")
    if user is not None and user != ("default" if declared is None else declared.user):
        raise Refusal(
            422,
            f"connection {connection.name!r} signs in as another user than target_ch_user says: leave it out, or "
            "change the connection in the flow file",
        )


def _place(host: str, port: int | None) -> str:
    if port is None:
        return host
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _check_same(given: Mapping[str, Any], name: str, declared: str, where: str) -> None:
    value = body.text(given, name)
    if value is not None and value != declared:
        raise Refusal(422, f"{name} is {show(value)!r}, but {where} has {declared!r}")


# what is moved


def _check_stream(flow: Flow, edge: Edge, given: Mapping[str, Any]) -> None:
    wanted = body.count(given, "target_q_max_len")
    if wanted is None:
        return
    most = [flow.streams[name].max_len for name in edge.target_streams]
    if most != [wanted] * len(most):
        declared = ", ".join(f"{name}: {flow.streams[name].max_len}" for name in edge.target_streams)
        raise Refusal(422, f"target_q_max_len is {wanted}, but the flow declares max_len {declared}")


def _check_table(flow: Flow, edge: Edge, given: Mapping[str, Any]) -> None:
    columns = body.names(given, "target_ch_insert_cols")
    id_column = body.text(given, "target_ch_insert_pid_name")
    declared, schema = edge.columns, flow.streams[edge.source].schema
    if columns is not None and declared is not None and _fields(columns) != _fields(declared):
        raise Refusal(
            422,
            f"target_ch_insert_cols are {_shown(columns)}, but edge {edge.name!r} stores {_listed(declared)}",
        )
    stored = declared or columns or (tuple(schema) if schema else None)
    if columns is not None and declared is None and schema is not None and not _fields(columns) <= set(schema):
        raise Refusal(
            422,
            f"target_ch_insert_cols are {_shown(columns)}, but stream {edge.source} has {_listed(schema)}",
        )
    if id_column is not None and stored is not None and id_column not in (*stored, "_mid"):
        raise Refusal(
            422,
            f"target_ch_insert_pid_name {show(id_column)!r} is none of the columns that edge {edge.name!r} stores: "
            f"{_listed(stored)}",
        )


def _fields(columns: Iterable[str]) -> set[str]:
    return set(columns) - {"_mid"}


def _shown(columns: Iterable[str]) -> str:
    return show(", ".join(columns))


def _listed(columns: Iterable[str]) -> str:
    return ", ".join(columns)
