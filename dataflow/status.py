"""Everything worth knowing about a running flow at one look: what `dataflow status` shows and prints as JSON.

`gather` reads; what it returns is plain frozen data.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from dataflow.flow.spec import Edge, Flow
from dataflow.holding import Hold, Scene, holds
from dataflow.store.alarms import Alarm
from dataflow.store.edgeruns import EdgeRun, edge_runs
from dataflow.store.keys import Keys
from dataflow.store.memory import DOOR_MARK, Memory, read_memory
from dataflow.store.reading import (
    GroupView,
    Join,
    LaneView,
    Process,
    StreamView,
    read_alarms,
    read_joins,
    read_lanes,
    read_processes,
    read_streams,
)
from dataflow.store.redis import Client, call
from dataflow.store.trend import Trend, full_in_s, read_trends

NEARLY_FULL = 0.8
"""From this share of its room on, a stream is worth a word."""

ReaderKind = Literal["worker", "edge", "former"]


@dataclass(frozen=True, slots=True)
class AppliedFlow:
    """What Redis knows of the flow. current: its digest is that of the flow file."""

    revision: int
    current: bool


@dataclass(frozen=True, slots=True)
class ReaderStatus:
    """One reader of a stream, in messages. `former` is one that the flow file no longer has.

    join: where it began on the stream; None where that is not known.
    """

    name: str
    kind: ReaderKind
    declared: bool
    undelivered: int
    in_work: int
    coming_back: int
    parked: int
    next_due_ms: int | None
    handled: int
    filtered: int
    dead: int
    lost: int
    released: int
    processes: int
    join: Join | None


@dataclass(frozen=True, slots=True)
class StreamStatus:
    """One stream, in messages. held_by: readers that still need entries of it, the most needing first.

    missing: readers whose consumer group is gone; nothing is deleted until they are made again. holds: the same readers
    with the reason, those first that stand still. growth_per_s: by how much it grew in the last minute, full_in_s: when
    it is full if that goes on (0: it is); None where that is not known, or it does not grow.
    """

    name: str
    connection: str
    depth: int
    max_len: int | None
    added: int
    removed: int
    held_by: tuple[str, ...]
    missing: tuple[str, ...]
    readers: tuple[ReaderStatus, ...]
    holds: tuple[Hold, ...]
    growth_per_s: float | None
    full_in_s: float | None

    @property
    def full(self) -> float:
        """Share of its room that is taken."""
        return self.depth / self.max_len if self.max_len else 0.0


@dataclass(frozen=True, slots=True)
class EdgeStatus:
    """One edge. lag: messages that it has not settled, None where Redis alone cannot tell. mode: how a repeated batch
    is known again, "" if it never ran.

    state: how its last run ended; of an edge without a schedule, as a running process tells it, "" if none does.
    last_run: the last run that anyone has noted, also of a process that is gone. open: messages in frozen batches.
    """

    name: str
    kind: str
    source: str
    target: str
    mode: str
    state: str
    paused: str
    lag: int | None
    open: int
    settled: int
    written: int
    dead: int
    runner: str
    scheduled: bool
    last_run: EdgeRun

    @property
    def trouble(self) -> str:
        """What was wrong with its last run; "" if nothing was, or another run has ended well since."""
        return self.last_run.error if self.state in ("", self.last_run.state) else ""


@dataclass(frozen=True, slots=True)
class MemoryStatus:
    """How full a Redis is. limit_bytes: None where it has none, and share is 0. door: whether it takes new messages."""

    used_bytes: int
    limit_bytes: int | None
    share: float
    door: Literal["open", "closed"]

    @classmethod
    def of(cls, memory: Memory) -> MemoryStatus:
        """What a server has said."""
        door: Literal["open", "closed"] = "closed" if memory.share >= DOOR_MARK else "open"
        return cls(memory.used, memory.limit or None, round(memory.share, 3), door)


@dataclass(frozen=True, slots=True)
class Status:
    """A flow at one look. memory: of each Redis."""

    flow: str
    path: str
    applied: Mapping[str, AppliedFlow]
    memory: Mapping[str, MemoryStatus]
    streams: tuple[StreamStatus, ...]
    edges: tuple[EdgeStatus, ...]
    processes: tuple[Process, ...]
    alarms: tuple[Alarm, ...]


def gather(flow: Flow, clients: Mapping[str, Client]) -> Status:
    """Look at everything. Blocks; changes nothing. Raises ServerAway, OutcomeUnknown.

    Args:
        clients: connection name -> client, for every connection that has streams.
    """
    views = {view.name: view for view in read_streams(flow, clients)}
    lanes = read_lanes(flow, clients)
    processes = tuple(read_processes(flow, clients.values()))
    alarms = tuple(read_alarms(flow, clients.values()))
    scene = Scene(flow, lanes, processes, alarms)
    trends = read_trends(flow, clients)
    joins = {name: read_joins(clients[flow.streams[name].on], Keys(flow.name), name) for name in views}
    runs = edge_runs(clients[flow.home], Keys(flow.name))
    return Status(
        flow=flow.name,
        path=str(flow.path),
        applied={name: _applied(flow, client) for name, client in clients.items()},
        memory={name: MemoryStatus.of(read_memory(client)) for name, client in clients.items()},
        streams=tuple(
            _stream(scene, view, joins[view.name], trends[flow.streams[view.name].on]) for view in views.values()
        ),
        edges=tuple(_edge(edge, views[edge.anchor], lanes, processes, runs) for edge in flow.edges.values()),
        processes=processes,
        alarms=alarms,
    )


def _applied(flow: Flow, client: Client) -> AppliedFlow:
    revision, digest = call(client, "HMGET", Keys(flow.name).applied, "revision", "digest")
    return AppliedFlow(int(revision or 0), digest == flow.digest.encode())


def _stream(scene: Scene, view: StreamView, joins: Mapping[str, Join], trend: Trend) -> StreamStatus:
    flow = scene.flow
    growth = trend.growth_per_s(view.name, view.books.depth)
    return StreamStatus(
        name=view.name,
        connection=flow.streams[view.name].on,
        depth=view.books.depth,
        max_len=view.books.max_len,
        added=view.books.ever_added,
        removed=view.books.removed,
        held_by=view.holders,
        missing=view.missing,
        readers=tuple(_reader(scene, view.name, group, joins.get(group.name)) for group in view.groups),
        holds=holds(scene, view),
        growth_per_s=None if growth is None else round(growth, 3),
        full_in_s=_rounded(full_in_s(view.books.depth, view.books.max_len, growth)),
    )


def _rounded(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 1)


def _reader(scene: Scene, stream: str, group: GroupView, join: Join | None) -> ReaderStatus:
    flow = scene.flow
    kind: ReaderKind = "worker" if group.name in flow.workers else "edge"
    return ReaderStatus(
        name=group.name,
        kind=kind if group.name in flow.readers(stream) else "former",
        declared=group.declared,
        undelivered=group.undelivered,
        in_work=group.pending + group.retry_pending,
        coming_back=group.retry_undelivered,
        parked=group.parked,
        next_due_ms=group.next_due_ms,
        handled=group.handled,
        filtered=group.filtered,
        dead=group.dead,
        lost=group.lost,
        released=group.released,
        processes=_at_work(scene.processes, group.name),
        join=join,
    )


_KNOWN_MODES: Mapping[str, str] = {"s2s": "marker", "mongo2s": "position"}
"""Of the kinds that have one mode only."""


def _edge(
    edge: Edge,
    source: StreamView,
    lanes: list[LaneView],
    processes: tuple[Process, ...],
    runs: Mapping[str, EdgeRun],
) -> EdgeStatus:
    group = next((group for group in source.groups if group.name == edge.name), None)
    counts = source.books.counts
    own = [lane for lane in lanes if lane.edge == edge.name]
    last = runs.get(edge.name, EdgeRun())
    return EdgeStatus(
        name=edge.name,
        kind=edge.kind,
        source=edge.reads,
        target=", ".join(edge.target_streams) or f"{edge.connection}.{edge.table}",
        mode=_KNOWN_MODES.get(edge.kind) or str(_told(processes, "modes", edge.name)) or last.mode,
        state=str(_told(processes, "edges", edge.name)) if edge.task is None else last.state,
        paused="; ".join(lane.paused for lane in own if lane.paused),
        lag=group.waiting if group else None,
        open=sum(lane.open.count for lane in own if lane.open),
        settled=sum(lane.settled for lane in own),
        written=counts.get(f"{edge.name}.out", 0),
        dead=counts.get(f"{edge.name}.dead", 0),
        runner=next((lane.holder for lane in own if lane.holder), ""),
        scheduled=edge.task is not None,
        last_run=last,
    )


def _at_work(processes: Sequence[Process], worker: str) -> int:
    """How many processes run a worker's handler, by what their parents say."""
    parents = [one for one in processes if one.kind == "worker" and not one.gone and one.facts.get("name") == worker]
    return sum(len(parent.facts.get("processes", ())) for parent in parents)


def _told(processes: tuple[Process, ...], fact: str, edge: str) -> Any:
    """What a live process says of an edge."""
    told = [process.facts.get(fact) for process in processes if process.kind == "sync" and not process.gone]
    return next((states[edge] for states in told if isinstance(states, dict) and edge in states), "")
