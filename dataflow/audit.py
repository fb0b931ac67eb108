"""Conservation: checks, from the counters and the real streams and tables, that no message was lost or doubled.

    a stream          added = in it + removed
    its dead letters  in the stream of dead letters = counted as dead
    a reader          added - joined = undelivered + in work + coming back + parked
                                       + handled + filtered + dead + released + lost
    a writer          written = arrived at its targets
    an edge's lane    frozen = settled + open
    a table           rows = written, and no `_mid` twice
    a collection      documents = written
    an intake         documents up to its position = written + dead

It can be run while processes work: what is compared is read at one instant, or taken before and after and compared
with the work in flight between. The functions named `check_*` are plain arithmetic; `audit` reads and calls them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from dataflow.errors import DataflowError
from dataflow.flow.spec import Edge, EdgeKind, Flow
from dataflow.store.declare import declared_streams
from dataflow.store.keys import Keys
from dataflow.store.leads import Lead, Reader, read_leads, related_names
from dataflow.store.reading import Books, GroupView, LaneView, StreamView, Tallies, read_stream, read_tallies
from dataflow.store.redis import Client

GONE = "entries are gone that we did not remove"
ANEW = "our counters are ahead of the stream: Redis lost writes, or the stream was made anew"
FOREIGN = "written by other programs"
TWICE = "more was finished than came: done twice, or the stream was made anew"

State = Literal["ok", "drift", "note", "unchecked"]
"""How an equation stands: it holds; it does not; it does not, for a reason that is no loss; it could not be checked."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One equation. `drift` is left - right in messages; `text` says what a drift means, "" where all is well."""

    check: str
    subject: str
    equation: str
    left: int
    right: int
    state: State
    text: str = ""

    @property
    def drift(self) -> int:
        """By how many messages the two sides differ."""
        return self.left - self.right


class Table(Protocol):
    """Where an edge stores rows, as far as the audit asks it."""

    def count(self, table: str) -> tuple[int, int]:
        """(rows, different `_mid`s) of a table. Raises DataflowError if it cannot be asked."""


class Documents(Protocol):
    """Where edges store documents, as far as the audit asks it."""

    def count(self, edge: Edge) -> int:
        """Documents in the collection of an edge. Raises DataflowError if it cannot be asked."""

    def count_up_to(self, edge: Edge, position: str) -> int:
        """Those up to and with the position of the edge that reads it. Raises DataflowError if it cannot be asked."""


@dataclass(frozen=True, slots=True)
class Sent:
    """What an edge or worker says it has written: at a first instant, and at a later one with what was in flight."""

    before: int
    after: int
    in_flight: int = 0


def check_books(check: str, subject: str, books: Books) -> list[Finding]:
    """Check one stream: what came is there or was removed by us.

    Where Redis counts additions itself (7.0 on) its count is the left side, and what our counters know of it tells
    writers that are not ours. Before, our own counters are the left side: a surplus is other writers, a deficit loss.
    """
    ours = sum(books.written.values())
    there = books.length + books.removed
    if books.added is None:
        equation = "written by us = in it + removed"
        if ours < there:
            return [_finding(check, subject, equation, ours, there, FOREIGN, "note")]
        return [_finding(check, subject, equation, ours, there, GONE)]
    found = [
        _finding(check, subject, "added = in it + removed", books.added, there, GONE if books.added > there else ANEW)
    ]
    if ours < books.added:
        found.append(_finding(check, subject, "added = written by us", books.added, ours, FOREIGN, "note"))
    else:
        found.append(_finding(check, subject, "added = written by us", books.added, ours, ANEW))
    return found


def check_reader(stream: str, books: Books, group: GroupView) -> list[Finding]:
    """Check one reader of a stream: everything that came for it is waiting, in work or finished."""
    subject = f"{stream}/{group.name}"
    equation = "added - joined = waiting + finished"
    left, right = books.ever_added - group.joined, group.waiting + group.finished
    if not group.declared:
        text = "not declared in Redis: run `dataflow apply`"
        return [Finding("reader", subject, equation, 0, 0, "unchecked", text)]
    found = []
    if not group.exists or not group.retry_exists:
        text = "its consumer group is gone; it is made again where it stood by a worker, an edge or `dataflow apply`"
        found.append(Finding("reader", subject, "group exists", 0, 1, "drift", text))
    text = "messages that came are not accounted for: lost" if left > right else TWICE
    found.append(_finding("reader", subject, equation, left, right, text))
    found += check_books("retry", subject, group.retry)
    found += check_books("dead letters", subject, group.dead_letters)
    text = (
        "dead letters were deleted" if group.dead > group.dead_letters.length else "dead letters that we did not count"
    )
    found.append(_finding("dead letters", subject, "dead = in the stream", group.dead, group.dead_letters.length, text))
    return found


def check_stream(view: StreamView) -> list[Finding]:
    """Check a stream with its readers."""
    found = check_books("stream", view.name, view.books)
    for group in view.groups:
        found += check_reader(view.name, view.books, group)
    return found


def check_writer(name: str, sent: Sent, arrived_before: int, arrived_after: int) -> Finding:
    """Check a worker or an edge into streams: what it says it wrote stands in the counters of its targets."""
    equation = "written = arrived"
    if arrived_after < sent.before:
        return _finding("writer", name, equation, sent.before, arrived_after, "messages did not arrive: lost")
    if arrived_before > sent.after + sent.in_flight:
        text = "more arrived than was written: batches were applied twice, or the source lost its last writes"
        return _finding("writer", name, equation, sent.after + sent.in_flight, arrived_before, text)
    return _finding("writer", name, equation, arrived_after, arrived_after)


def check_lane(lane: LaneView) -> Finding:
    """Check a lane: what was frozen is settled or in the open batch."""
    subject = lane.edge if lane.lane == "main" else f"{lane.edge} (retry)"
    settled = lane.settled + (lane.open.count if lane.open else 0)
    return _finding("edge", subject, "frozen = settled + open", lane.frozen, settled, "the lane's counters disagree")


def check_table(table: str, sent: Sent, rows: int, mids: int, *, may_repeat: bool, alone: bool) -> list[Finding]:
    """Check a table that edges of this flow write.

    Args:
        rows, mids: what the table holds: rows, and different `_mid`s.
        may_repeat: the flow says at_least_once, so repeats are no drift.
        alone: one edge writes it; else several may carry the same message.
    """
    surplus: State = "note" if may_repeat else "drift"
    most = sent.after + sent.in_flight
    equation = "written = rows"
    if rows < sent.before:
        found = [_finding("table", table, equation, sent.before, rows, "rows are missing")]
    elif rows > most:
        text = "rows that this flow did not count: repeats, other writers, or a former life of the flow"
        found = [_finding("table", table, equation, most, rows, text, surplus)]
    else:
        found = [_finding("table", table, equation, rows, rows)]
    if alone:
        text = "messages that are there more than once"
        found.append(_finding("table", table, "rows = different messages", rows, mids, text, surplus))
    return found


def check_collection(collection: str, sent: Sent, documents: int, *, exclusive: bool) -> Finding:
    """Check a collection that edges of this flow write.

    Args:
        exclusive: nothing else writes to it or deletes from it; else a difference may be the work of others.
    """
    state: State = "drift" if exclusive else "note"
    most = sent.after + sent.in_flight
    equation = "written = documents"
    if documents < sent.before:
        text = "documents are missing" if exclusive else "documents are missing, or others have deleted them"
        return _finding("collection", collection, equation, sent.before, documents, text, state)
    if documents > most:
        text = "documents that this flow did not count: other writers, or a former life of the flow"
        return _finding("collection", collection, equation, most, documents, text, state)
    return _finding("collection", collection, equation, documents, documents)


def check_intake(edge: str, taken: int, documents: int) -> Finding:
    """Check an edge that reads a collection: what is there up to its position was taken or buried.

    Documents that were deleted, or changed and taken once more, are no loss; what came late, below the position, is.
    """
    equation = "documents up to the position = written + dead"
    if documents > taken:
        text = "documents appeared below the position: they are not read (settle_s is too short, or by was set back)"
        return _finding("intake", edge, equation, documents, taken, text)
    text = "documents were deleted since, or changed and taken once more"
    return _finding("intake", edge, equation, documents, taken, text, "note")


def audit(
    flow: Flow,
    clients: Mapping[str, Client],
    tables: Mapping[str, Table],
    documents: Mapping[str, Documents] | None = None,
) -> list[Finding]:
    """Check everything that a flow's counters, streams and tables say. Blocks; changes nothing.

    Args:
        clients: connection name -> client, for every connection that has streams.
        tables: connection name -> where its tables can be counted; what is not there is reported as unchecked.
        documents: the same for collections.

    Raises ServerAway, OutcomeUnknown for a Redis; a warehouse that is away is a finding.
    """
    servers = [_Server(flow, name, client) for name, client in clients.items()]
    found = [finding for server in servers for view in server.streams() for finding in check_stream(view)]
    names = related_names(pair for server in servers for pair in server.leads())
    before = _Counters(flow, {server.name: server.tallies() for server in servers}, names)
    counted = {target: _count(target, tables) for target in _stored(flow, "s2ch")}
    kept = {target: _count_documents(edges[0], documents or {}) for target, edges in _stored(flow, "s2mongo").items()}
    after = _Counters(flow, {server.name: server.tallies() for server in servers}, names)
    found += [check_lane(lane) for lane in after.lanes()]
    found += [
        check_writer(name, _sent(name, before, after), before.arrived(name), after.arrived(name))
        for name in (*flow.workers, *flow.edges)
        if _targets(flow, name)
    ]
    for target, edges in _stored(flow, "s2ch").items():
        found += _table_findings(target, edges, counted[target], before, after)
    for target, edges in _stored(flow, "s2mongo").items():
        found.append(_collection_finding(target, edges, kept[target], before, after))
    found += [_intake_finding(edge, documents or {}, after) for edge in flow.edges.values() if not edge.source]
    return found


def is_clean(findings: Iterable[Finding]) -> bool:
    """Whether no equation drifts."""
    return all(finding.state != "drift" for finding in findings)


_Target = tuple[str, ...]
"""Connection, database if the flow names one, and table or collection."""


class _Server:
    """One Redis of a flow, with the streams that are on it: the flow's, and what former flow files left there."""

    def __init__(self, flow: Flow, name: str, client: Client) -> None:
        self.name = name
        self._flow, self._client, self._keys = flow, client, Keys(flow.name)
        own = [stream.name for stream in flow.streams.values() if stream.on == name]
        left = [stream for stream in declared_streams(client, self._keys) if stream not in flow.streams]
        self._streams = [*own, *left]
        self._edges = [edge.name for edge in flow.edges.values() if edge.anchor in own]

    def streams(self) -> list[StreamView]:
        return [
            read_stream(self._client, self._keys, stream, self._flow.readers(stream), exact=True)
            for stream in self._streams
        ]

    def leads(self) -> Iterable[tuple[Reader, Lead]]:
        return read_leads(self._client, self._keys).items()

    def tallies(self) -> Tallies:
        return read_tallies(self._client, self._keys, self._streams, self._edges)


class _Counters:
    """The counters of all servers. Those of one server are of one instant."""

    def __init__(
        self, flow: Flow, servers: Mapping[str, Tallies], names: Mapping[str, frozenset[str]] | None = None
    ) -> None:
        self._flow = flow
        self._servers = servers
        self._names = names or {}

    def written(self, *readers: str) -> int:
        """Messages that workers and edges say they have written where they are now."""
        return sum(self._counts(self._anchor(reader)).get(f"{reader}.out", 0) for reader in readers)

    def ever_written(self, reader: str) -> int:
        """Messages that a worker or edge, and whoever shared a name with it, says it has written to any stream."""
        return sum(count.get(f"{name}.out", 0) for count in self._all for name in self._names.get(reader, {reader}))

    def arrived(self, reader: str) -> int:
        """Messages from these that all streams together have counted."""
        return sum(count.get(f"from.{name}", 0) for count in self._all for name in self._names.get(reader, {reader}))

    @property
    def _all(self) -> list[Mapping[str, int]]:
        return [counts for server in self._servers.values() for counts in server.counts.values()]

    def open(self, name: str) -> int:
        """Messages in the open batches of an edge."""
        lanes = [lane for server in self._servers.values() for lane in server.lanes.get(name, ())]
        return sum(lane.open.count for lane in lanes if lane.open)

    def _anchor(self, reader: str) -> str:
        worker = self._flow.workers.get(reader)
        return worker.source if worker else self._flow.edges[reader].anchor

    def _counts(self, stream: str) -> Mapping[str, int]:
        return self._servers[self._flow.streams[stream].on].counts[stream]

    def lanes(self) -> list[LaneView]:
        return [lane for server in self._servers.values() for lanes in server.lanes.values() for lane in lanes]


def _sent(name: str, before: _Counters, after: _Counters) -> Sent:
    return Sent(before.ever_written(name), after.ever_written(name), after.open(name))


def _targets(flow: Flow, name: str) -> tuple[str, ...]:
    worker = flow.workers.get(name)
    return worker.targets if worker else flow.edges[name].target_streams


def _stored(flow: Flow, kind: EdgeKind) -> dict[_Target, list[Edge]]:
    """Tables or collections that edges of a kind write, with those edges."""
    found: dict[_Target, list[Edge]] = {}
    for edge in flow.edges.values():
        if edge.kind == kind and edge.connection is not None and edge.table is not None:
            database = () if edge.database is None else (edge.database,)
            found.setdefault((edge.connection, *database, edge.table), []).append(edge)
    return found


def _count(target: _Target, tables: Mapping[str, Table]) -> tuple[int, int] | str:
    """(rows, different messages) of a table, or why they are not known."""
    connection, *_, table = target
    if connection not in tables:
        return f"connection {connection!r} is not running, or of a kind that cannot be asked from here"
    try:
        return tables[connection].count(table)
    except DataflowError as error:
        return str(error)


def _table_findings(
    target: _Target, edges: Sequence[Edge], counted: tuple[int, int] | str, before: _Counters, after: _Counters
) -> list[Finding]:
    subject = ".".join(target)
    if not all(edge.create_table for edge in edges):
        counted = "the flow did not make this table (create_table), others may write it"
    whole = _sent_together(edges, before, after)
    if isinstance(counted, str):
        if whole.after == 0 and all(edge.create_table for edge in edges):
            return [_finding("table", subject, "written = rows", 0, 0)]
        return [Finding("table", subject, "written = rows", whole.after, whole.after, "unchecked", counted)]
    may_repeat = any(edge.delivery == "at_least_once" for edge in edges)
    return check_table(subject, whole, *counted, may_repeat=may_repeat, alone=len(edges) == 1)


def _sent_together(edges: Sequence[Edge], before: _Counters, after: _Counters) -> Sent:
    names = [edge.name for edge in edges]
    return Sent(before.written(*names), after.written(*names), sum(after.open(name) for name in names))


def _count_documents(edge: Edge, documents: Mapping[str, Documents]) -> int | str:
    """How many documents a collection has, or why that is not known."""
    store = documents.get(edge.connection or "")
    if store is None:
        return f"connection {edge.connection!r} is not running"
    try:
        return store.count(edge)
    except DataflowError as error:
        return str(error)


def _collection_finding(
    target: _Target, edges: Sequence[Edge], counted: int | str, before: _Counters, after: _Counters
) -> Finding:
    subject, whole = ".".join(target), _sent_together(edges, before, after)
    if isinstance(counted, str):
        return Finding("collection", subject, "written = documents", whole.after, whole.after, "unchecked", counted)
    return check_collection(subject, whole, counted, exclusive=all(edge.exclusive for edge in edges))


def _intake_finding(edge: Edge, documents: Mapping[str, Documents], after: _Counters) -> Finding:
    lane = next((lane for lane in after.lanes() if lane.edge == edge.name), None)
    position, taken = (lane.position, lane.settled) if lane else ("", 0)
    if not position:
        return check_intake(edge.name, taken, 0)
    store = documents.get(edge.connection or "")
    try:
        if store is not None:
            return check_intake(edge.name, taken, store.count_up_to(edge, position))
        reason = f"connection {edge.connection!r} is not running"
    except DataflowError as error:
        reason = str(error)
    equation = "documents up to the position = written + dead"
    return Finding("intake", edge.name, equation, taken, taken, "unchecked", reason)


def _finding(
    check: str, subject: str, equation: str, left: int, right: int, text: str = "", state: State = "drift"
) -> Finding:
    """A finding that is well if both sides agree, else as `state` and `text` say."""
    if left == right:
        return Finding(check, subject, equation, left, right, "ok")
    return Finding(check, subject, equation, left, right, state, text)
