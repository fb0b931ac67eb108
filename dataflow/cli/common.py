"""What the commands that look at a running flow share: which flow, its servers, tables and JSON."""

from __future__ import annotations

import dataclasses
import functools
import sys
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import click
import msgspec
from rich import box
from rich.console import Console, RenderableType
from rich.table import Table

from dataflow.access import history
from dataflow.connections import Resolved, resolve
from dataflow.errors import UnknownName
from dataflow.flow.load import load
from dataflow.flow.spec import Edge, Flow, Stream, Worker
from dataflow.store.declare import check_format
from dataflow.store.keys import Keys
from dataflow.store.redis import Client, connect

if TYPE_CHECKING:
    from dataflow.mongo import MongoClient

DEFAULT_FLOW = Path("flow.yml")
_PIPE_WIDTH = 240

flow_option = click.option(
    "-f", "--flow", "flow_path", type=click.Path(path_type=Path), help="The flow file.  [default: flow.yml]"
)
"""-f, given to the command as `flow_path`: None if it was left out."""


def with_flow(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command its flow file as `flow_path`, named by -f or as the only argument; flow.yml by default."""

    @click.argument("flow", required=False, type=click.Path(path_type=Path))
    @flow_option
    @functools.wraps(command)
    def chosen(*args: Any, flow: Path | None, flow_path: Path | None, **options: Any) -> Any:
        if flow and flow_path:
            raise click.UsageError("name the flow file once: as an argument or with -f")
        return command(*args, flow_path=flow or flow_path or DEFAULT_FLOW, **options)

    return chosen


def split_flow(words: Sequence[str], flow_path: Path | None) -> tuple[Path, list[str]]:
    """Tell the flow file from the other arguments: it may stand first, and ends in .yml or .yaml."""
    if words and flow_path is None and words[0].endswith((".yml", ".yaml")):
        return Path(words[0]), list(words[1:])
    return flow_path or DEFAULT_FLOW, list(words)


class Site:
    """A flow and its servers, as a context manager that closes what it opened.

    Raises FlowError. Servers are contacted when they are first asked for.
    """

    def __init__(self, path: Path) -> None:
        self.flow: Flow = load(path)
        self.keys = Keys(self.flow.name)
        self.resolved: Resolved = resolve(self.flow)
        self._clients: dict[str, Client] = {}
        self._mongo: dict[str, MongoClient] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for client in self._clients.values():
            client.close()
        for store in self._mongo.values():
            store.close()

    @property
    def connections(self) -> list[str]:
        """Names of the Redis connections that have streams, in the order of the streams."""
        return list(self.flow.redis_connections)

    @property
    def clients(self) -> dict[str, Client]:
        """A client for each of them. Raises NotRunning, FormatTooNew, ServerAway."""
        return {name: self.client(name) for name in self.connections}

    def client(self, connection: str) -> Client:
        """The client of one connection, which was asked once whether we know its format."""
        if connection not in self._clients:
            client = connect(self.resolved.redis[connection])
            self._clients[connection] = client
            check_format(client, self.keys)
        return self._clients[connection]

    def mongo(self, connection: str) -> MongoClient:
        """The client of a MongoDB connection. Raises NotRunning, UserError: its address cannot be used."""
        if connection not in self._mongo:
            from dataflow.mongo import connect as connect_mongo

            self._mongo[connection] = connect_mongo(self.resolved.mongo[connection])
        return self._mongo[connection]

    @property
    def home(self) -> Client:
        """The client of the Redis with what belongs to no stream: keys, history."""
        return self.client(self.flow.home)

    def note(self, what: str, subject: str, **facts: Any) -> None:
        """Write a change that this person has made into the history."""
        history.record(self.home, self.keys, history.person(), what, subject, **facts)

    def stream(self, name: str) -> Stream:
        """A stream of the flow. Raises UnknownName."""
        return self.flow.streams[known(name, self.flow.streams, "stream")]

    def anchor_of(self, reader: str) -> str:
        """The stream that the dead letters of a worker or edge belong to. Raises UnknownName."""
        readers: dict[str, Worker | Edge] = {**self.flow.workers, **self.flow.edges}
        found = readers[known(reader, readers, "worker or edge")]
        return found.anchor if isinstance(found, Edge) else found.source


def known(name: str, names: Collection[str], what: str) -> str:
    """The name, if it is one of the names. Raises UnknownName, which lists them."""
    if name in names:
        return name
    raise UnknownName(f"the flow has no {what} {name!r}, but {', '.join(names) or 'none at all'}")


def print_json(value: Any) -> None:
    """Print a value (dataclasses included) as indented JSON."""
    click.echo(msgspec.json.format(msgspec.json.encode(value, enc_hook=_plain)).decode())


def print_json_line(value: Any) -> None:
    """Print a value as one line of JSON."""
    click.echo(msgspec.json.encode(value, enc_hook=_plain).decode())


def console(*, stderr: bool = False) -> Console:
    """Where tables are printed; wide enough in a pipe that nothing is cut."""
    stream = sys.stderr if stderr else sys.stdout
    return Console(file=stream, width=None if stream.isatty() else _PIPE_WIDTH, highlight=False)


def show(*parts: RenderableType) -> None:
    """Print tables and lines to stdout."""
    out = console()
    for part in parts:
        out.print(part)


def table(title: str, left: Sequence[str], right: Sequence[str] = (), last: Sequence[str] = ()) -> Table:
    """A table whose columns are texts, then numbers, then texts."""
    made = Table(title=title, title_justify="left", title_style="bold", box=box.SIMPLE_HEAD, pad_edge=False)
    for name in left:
        made.add_column(name, overflow="fold")
    for name in right:
        made.add_column(name, justify="right", no_wrap=True)
    for name in last:
        made.add_column(name, overflow="fold")
    return made


def number(n: int | None) -> str:
    """1234567 as 1,234,567; nothing as -."""
    return "-" if n is None else f"{n:,}"


def duration(seconds: float) -> str:
    """4210 as 1 h 10 min; the two largest units."""
    whole = max(1, round(seconds))
    if whole < 60:
        return f"{whole} s"
    units = (("d", 86400), ("h", 3600), ("min", 60), ("s", 1))
    at = next(n for n, (_, size) in enumerate(units) if whole >= size)
    (large, size), (small, less) = units[at], units[at + 1]
    rest = whole % size // less
    return f"{whole // size} {large} {rest} {small}" if rest else f"{whole // size} {large}"


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return dataclasses.asdict(value)
    raise NotImplementedError(f"cannot print a {type(value).__name__} as JSON")
