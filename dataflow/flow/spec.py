"""The checked flow: what every room works from. Built only by `dataflow.flow.load`; holds no open connection.

All values are plain and frozen. Names are as written in the flow file. Times are seconds unless the name says
otherwise.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

FieldType = Literal["str", "int", "float", "bool", "datetime", "json"]
ConnectionKind = Literal["redis", "clickhouse", "mongo"]
EMBEDDED = "embedded"
EdgeKind = Literal["s2s", "s2ch", "s2mongo", "mongo2s"]
DEFAULT_DATABASE = "dataflow"
"""Of collections where neither the edge nor the address of its MongoDB names one."""


@dataclass(frozen=True, slots=True)
class Field:
    """Declared type of one message field."""

    type: FieldType
    nullable: bool = False


Schema = Mapping[str, Field]


@dataclass(frozen=True, slots=True)
class Connection:
    """A named server. `url` is "embedded" or an address with its secret; the repr never shows the secret.

    `aliases` are the names under which requests to the sync room's API may mean it; see `dataflow.aliases`.
    """

    name: str
    kind: ConnectionKind
    url: str = field(repr=False)
    aliases: tuple[str, ...] = ()

    @property
    def embedded(self) -> bool:
        """Whether `dataflow up` starts this server itself."""
        return self.url == EMBEDDED


@dataclass(frozen=True, slots=True)
class Stream:
    """A declared stream. `accepts` is the (task_for, function_type) that the hub routes here, None for none."""

    name: str
    on: str
    direction: Literal["in", "out"]
    max_len: int
    schema: Schema | None
    accepts: tuple[str, str] | None
    keep_messages: int | None
    keep_hours: float | None


@dataclass(frozen=True, slots=True)
class Worker:
    """A declared worker: reads `source` through the group named like itself, writes to `targets`.

    `memory_mb`: what each process may take beyond what it starts with; None: as much as there is.
    """

    name: str
    source: str
    targets: tuple[str, ...]
    handler: str
    params: Mapping[str, Any]
    processes: int
    threads: int
    batch: int
    timeout_s: float
    max_attempts: int
    max_retry_s: float
    lease_s: float
    batch_handler: Literal["no", "list", "dataframe"]
    aggregate: bool
    memory_mb: int | None = None


@dataclass(frozen=True, slots=True)
class Route:
    """Dispatch of an s2s edge by the value of one field. `other` takes what no case names; None: dead letter."""

    by: str
    cases: Mapping[str, str]
    other: str | None


@dataclass(frozen=True, slots=True)
class Edge:
    """A declared edge: moves `source` to its target without logic.

    kind s2s: `to_stream` or `route` is set. kinds s2ch and s2mongo: `connection` and `table` are set; the table of
    s2mongo is a collection, in `database` if it is set, which is the edge's alone where `exclusive`.
    kind mongo2s: these name the collection that it reads, in the order of `by`, and `to_stream` is set; `source` is "",
    for it reads no stream. `fields` are those of a document that go over (None: all), `id_field` gets its `_id`.
    `task` is the schedule as written (None: the edge runs continuously; {}: when something outside the file says so).
    `max_hops` is set where the edge closes a cycle of streams: so many hops a message may make on it.
    """

    name: str
    kind: EdgeKind
    source: str
    to_stream: str | None
    route: Route | None
    connection: str | None
    table: str | None
    create_table: bool
    columns: tuple[str, ...] | None
    delivery: Literal["exactly_once", "at_least_once"]
    batch: int
    min_batch: int
    max_wait_s: float
    lease_s: float
    join: Literal["start", "now"]
    task: Mapping[str, Any] | None
    database: str | None = None
    exclusive: bool = False
    by: str = ""
    fields: tuple[str, ...] | None = None
    id_field: str | None = None
    settle_s: float = 0.0
    max_hops: int | None = None

    @property
    def anchor(self) -> str:
        """The stream that the edge's state, counters and dead letters belong to: the one that it reads, or, where it
        reads none, the one that it writes.
        """
        return self.source or self.to_stream or ""

    @property
    def reads(self) -> str:
        """What it reads, in words: a stream, or `<connection>.<collection>`."""
        return self.source or f"{self.connection}.{self.table}"

    @property
    def target_streams(self) -> tuple[str, ...]:
        """Every stream this edge can write to, without repeats, in the order written."""
        if self.to_stream is not None:
            return (self.to_stream,)
        if self.route is None:
            return ()
        other = () if self.route.other is None else (self.route.other,)
        return tuple(dict.fromkeys((*self.route.cases.values(), *other)))


@dataclass(frozen=True, slots=True)
class Cycle:
    """Streams from each of which messages can get to each other one, and the workers and edges that take them there.

    streams: in the order of the file. steps: names of workers and edges. closing: the streams among them that an edge
    with `max_hops` leads to.
    """

    streams: tuple[str, ...]
    steps: frozenset[str]
    closing: frozenset[str]


@dataclass(frozen=True, slots=True)
class Scheduler:
    """How the flow's tasks are scheduled.

    `machine` names the documents that are this flow's; "" stands for the flow's name. `timezone` is the zone of tasks
    that state none; "" is the machine's own. `tasks` is the mongo connection with the documents. `allow` lists the
    addresses that `make_a_request` may call, `modules` those whose functions may be jobs. `declared`: whether the file
    has the section.
    """

    machine: str = ""
    host: str = "127.0.0.1"
    port: int = 24010
    timezone: str = ""
    tasks: str | None = None
    allow: tuple[str, ...] = ()
    modules: tuple[str, ...] = ()
    declared: bool = False


@dataclass(frozen=True, slots=True)
class SyncApi:
    """Where the HTTP API of the sync room listens."""

    host: str = "127.0.0.1"
    port: int = 24104


@dataclass(frozen=True, slots=True)
class Flow:
    """The whole declared net.

    `path` is the flow file, `digest` the hex digest of what it says after ${...} expansion, without
    addresses and ports.
    """

    name: str
    path: Path
    digest: str
    connections: Mapping[str, Connection]
    streams: Mapping[str, Stream]
    workers: Mapping[str, Worker]
    edges: Mapping[str, Edge]
    hub_host: str
    hub_port: int
    scheduler: Scheduler = field(default_factory=Scheduler)
    sync: SyncApi = field(default_factory=SyncApi)

    @property
    def machine(self) -> str:
        """Whose TaskTable documents are this flow's."""
        return self.scheduler.machine or self.name

    @property
    def scheduled(self) -> bool:
        """Whether the flow has a scheduler: an edge has a `task`, or the file has a section `scheduler`; and there is a
        MongoDB for the documents.
        """
        wanted = self.scheduler.declared or any(edge.task is not None for edge in self.edges.values())
        return wanted and self.scheduler.tasks is not None

    def uses_mongo(self, connection: str) -> bool:
        """Whether something of the flow needs this MongoDB: the scheduler or an edge."""
        return self.scheduled or any(edge.connection == connection for edge in self.edges.values())

    @property
    def redis_connections(self) -> tuple[str, ...]:
        """The Redis connections that hold streams, in the order of the streams. The flow is applied to each."""
        return tuple(dict.fromkeys(stream.on for stream in self.streams.values()))

    @property
    def home(self) -> str:
        """The Redis connection with what belongs to no stream: the revision that processes follow, heartbeats."""
        return self.redis_connections[0]

    def readers(self, stream: str) -> tuple[str, ...]:
        """Names of the consumer groups declared on a stream: its workers, then its edges. Order as written."""
        workers = [w.name for w in self.workers.values() if w.source == stream]
        return tuple(workers + [e.name for e in self.edges.values() if e.source == stream])

    def intakes(self, stream: str) -> tuple[str, ...]:
        """Names of the edges whose state belongs to a stream that they write and do not read (kind mongo2s)."""
        return tuple(e.name for e in self.edges.values() if not e.source and e.to_stream == stream)

    def writers(self, stream: str) -> tuple[str, ...]:
        """Names of the workers and edges that write to a stream (the hub is not among them)."""
        workers = [w.name for w in self.workers.values() if stream in w.targets]
        return tuple(workers + [e.name for e in self.edges.values() if stream in e.target_streams])

    def keeps_mid(self, reader: str) -> bool:
        """Whether a one-to-one hop of this reader keeps `_mid` (docs/DELIVERY.md, message ids).

        It does with one group on its input, one target, and an input that lies on no cycle.
        """
        step = self.workers.get(reader) or self.edges[reader]
        if not step.source:
            return False
        alone = len(self.readers(step.source)) == 1
        single = len(targets_of(step)) == 1 or isinstance(step, Edge)
        return alone and single and not self.on_cycle(step.source)

    def on_cycle(self, stream: str) -> bool:
        """Whether messages of this stream can come back to it."""
        return stream in self._ahead(stream)

    def cycle(self, stream: str) -> Cycle | None:
        """The cycle that a stream lies on; where several meet in one stream, they are one. None if it lies on none."""
        ahead = self._ahead(stream)
        if stream not in ahead:
            return None
        names = tuple(name for name in self.streams if name in ahead and stream in self._ahead(name))
        steps: list[Worker | Edge] = [*self.workers.values(), *self.edges.values()]
        inner = [step for step in steps if step.source in names and not set(targets_of(step)).isdisjoint(names)]
        limited = [step for step in inner if isinstance(step, Edge) and step.max_hops is not None]
        closing = {name for edge in limited for name in edge.target_streams if name in names}
        return Cycle(names, frozenset(step.name for step in inner), frozenset(closing))

    def _ahead(self, stream: str) -> set[str]:
        """Every stream that messages of this one can get to."""
        ways: dict[str, list[str]] = {}
        steps: list[Worker | Edge] = [*self.workers.values(), *self.edges.values()]
        for step in steps:
            ways.setdefault(step.source, []).extend(targets_of(step))
        seen: set[str] = set()
        todo = ways.get(stream, [])[:]
        while todo:
            name = todo.pop()
            if name not in seen:
                seen.add(name)
                todo.extend(ways.get(name, ()))
        return seen

    def downstream(self, stream: str) -> tuple[str, ...]:
        """The streams that a stream's readers write to."""
        workers = [t for w in self.workers.values() if w.source == stream for t in w.targets]
        return tuple(workers + [t for e in self.edges.values() if e.source == stream for t in e.target_streams])


def targets_of(step: Worker | Edge) -> tuple[str, ...]:
    """The streams that a worker or an edge writes to."""
    return step.targets if isinstance(step, Worker) else step.target_streams
