"""What each reader of a flow reads and where it leads, as it was last applied.

It is kept in Redis beside the streams, because a flow file says how things are and not how they came to be: without it
nobody could tell an edge that has got another name from one that is new, and the new one would move again what the
former had moved.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import msgspec

from dataflow.flow.spec import Edge, Flow, Worker
from dataflow.store.keys import Keys
from dataflow.store.redis import Client, call


@dataclass(frozen=True, slots=True)
class Lead:
    """Where a reader stands in the net.

    kind: worker, or the kind of the edge. reads: its stream or collection. to: a worker's handler, what an edge writes.
    at: of an edge, the place that remembers its batches ("" for none): a server for streams, else a table.
    former: the names that it had before, the last one last.
    """

    kind: str
    reads: str
    to: str
    at: str = ""
    former: tuple[str, ...] = ()

    @property
    def anchor(self) -> str:
        """The stream beside which its state is kept: the one that it reads, or, where it reads none, that it writes."""
        return self.to if self.kind == "mongo2s" else self.reads

    @property
    def place(self) -> str:
        """Where it leads, for people."""
        return f"{self.kind} {self.at or self.to}"

    def is_same_step(self, other: Lead) -> bool:
        """Whether one goes on with the other's work: the same kind, from the same place to the same place."""
        return (self.kind, self.reads, self.to) == (other.kind, other.reads, other.to)

    def remembers_elsewhere(self, other: Lead) -> bool:
        """Whether what one has on its way cannot be told as sent by where the other leads."""
        return (self.kind, self.at) != (other.kind, other.at)


def lead_of(flow: Flow, name: str) -> Lead:
    """The lead of a worker or an edge of a flow. Raises KeyError."""
    worker = flow.workers.get(name)
    return _lead_of_edge(flow, flow.edges[name]) if worker is None else _lead_of_worker(worker)


def leads_on(flow: Flow, streams: frozenset[str]) -> dict[str, Lead]:
    """The leads of everything whose state is kept beside some streams: name -> lead."""
    names = [worker.name for worker in flow.workers.values() if worker.source in streams]
    names += [edge.name for edge in flow.edges.values() if edge.anchor in streams]
    return {name: lead_of(flow, name) for name in names}


def read_leads(redis: Client, keys: Keys) -> dict[str, Lead]:
    """What was last applied on a server: name -> lead. Raises ServerAway, OutcomeUnknown."""
    flat = call(redis, "HGETALL", keys.leads)
    pairs = zip(flat[::2], flat[1::2], strict=True)
    return {name.decode(): msgspec.json.decode(value, type=Lead) for name, value in pairs}


def encoded(leads: Mapping[str, Lead]) -> dict[str, bytes]:
    """As they are kept: name -> JSON."""
    return {name: msgspec.json.encode(lead) for name, lead in leads.items()}


def _lead_of_worker(worker: Worker) -> Lead:
    return Lead("worker", worker.source, worker.handler)


def _lead_of_edge(flow: Flow, edge: Edge) -> Lead:
    if edge.target_streams and edge.source:
        server = flow.streams[edge.target_streams[0]].on
        return Lead(edge.kind, edge.source, f"{server}: {_streams(edge)}", server)
    collection = ".".join(filter(None, (edge.connection, edge.database, edge.table)))
    if edge.source:
        return Lead(edge.kind, edge.source, collection, collection)
    return Lead(edge.kind, f"{collection} by {edge.by}", edge.to_stream or "")


def _streams(edge: Edge) -> str:
    if edge.route is None:
        return edge.to_stream or ""
    cases = ", ".join(f"{value} -> {stream}" for value, stream in sorted(edge.route.cases.items()))
    return f"by {edge.route.by}: {cases}, else {edge.route.other or 'dead letters'}"
