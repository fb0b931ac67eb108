"""Correcting the books after a loss that was looked into: what an audit finds is taken as the new beginning.

After a server has lost writes, or someone has deleted entries by hand, the counters never agree again by themselves.
That is meant: a drift stays until a person says that it is known. `rebase` does so; it changes counters only, never
messages, and every correction is written down with who made it.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import msgspec

from dataflow.audit import Documents, Finding, Table, audit
from dataflow.flow.spec import Edge, Flow
from dataflow.store.keys import Keys
from dataflow.store.redis import Client, call
from dataflow.store.script import script

ROUNDS = 3
"""A correction may bring another drift to light: the books of a reader hold those of its dead letters."""
MOST_RECORDS = 1000

_Place = tuple[str, str, str]
"""Connection, key, field."""


@dataclass(frozen=True, slots=True)
class Correction:
    """One counter that was changed, and the drift that it was changed for."""

    connection: str
    key: str
    field: str
    by: int
    subject: str
    equation: str


@dataclass(frozen=True, slots=True)
class Rebased:
    """One time that somebody corrected the books of a flow. at_ms: ms since 1970."""

    at_ms: int
    who: str
    corrections: tuple[Correction, ...]


def rebase(
    flow: Flow,
    clients: Mapping[str, Client],
    tables: Mapping[str, Table],
    who: str,
    documents: Mapping[str, Documents] | None = None,
) -> list[Correction]:
    """Correct every counter that drifts, and write down who did it. Blocks; processes may run meanwhile.

    What is no question of counting stays a drift: a message that is in a table twice, a consumer group that is gone.
    Raises ServerAway, OutcomeUnknown: some counters may have been corrected; audit again.
    """
    done: list[Correction] = []
    for _ in range(ROUNDS):
        found = list(corrections(flow, audit(flow, clients, tables, documents)))
        if not found:
            break
        for connection, client in clients.items():
            own = [one for one in found if one.connection == connection]
            if own:
                _apply(client, Keys(flow.name), own, who)
        done += found
    return done


def corrections(flow: Flow, findings: Iterable[Finding]) -> Iterator[Correction]:
    """What would make the drifts of an audit even. Pure."""
    for finding in findings:
        place = _place(flow, finding) if finding.state == "drift" else None
        if place is not None:
            by = finding.drift if finding.check in _RIGHT_SIDE or finding.equation in _BOOKS else -finding.drift
            yield Correction(*place, by, finding.subject, finding.equation)


def history(flow: Flow, redis: Client) -> list[Rebased]:
    """Every time that counters on a server were corrected, the newest first. Raises ServerAway, OutcomeUnknown."""
    records = call(redis, "LRANGE", Keys(flow.name).rebased, 0, -1)
    return [msgspec.json.decode(record, type=Rebased) for record in records]


_BOOKS = {
    "added = in it + removed": "removed",
    "written by us = in it + removed": "removed",
    "added = written by us": "from.rebased",
}
"""Equations of any stream, and the counter on their right side."""
_RIGHT_SIDE = ("reader", "intake")


def _place(flow: Flow, finding: Finding) -> _Place | None:
    """The counter that is corrected for a finding; None where counting is not what is wrong."""
    keys, subject = Keys(flow.name), finding.subject
    stream, _, group = subject.partition("/")
    if finding.check == "edge":
        name = subject.removesuffix(" (retry)")
        return flow.streams[flow.edges[name].anchor].on, keys.edge(name, retry=name != subject), "frozen"
    if finding.check == "intake":
        return flow.streams[flow.edges[subject].anchor].on, keys.edge(subject), "settled"
    if finding.check == "writer":
        return _out(flow, keys, subject)
    if finding.check in ("table", "collection"):
        stored = [edge.name for edge in flow.edges.values() if subject == _stored(edge)]
        return _out(flow, keys, stored[0]) if stored and finding.equation.startswith("written = ") else None
    if stream not in flow.streams:  # of a former flow file: it is let go of with `dataflow release`
        return None
    on = flow.streams[stream].on
    if finding.equation in _BOOKS:
        at = {"stream": keys.stream(stream), "retry": keys.retry(stream, group)}.get(finding.check)
        return on, (at or keys.dead(stream, group)).counts, _BOOKS[finding.equation]
    if finding.equation == "dead = in the stream":
        return on, keys.stream(stream).counts, f"{group}.dead"
    if finding.equation == "added - joined = waiting + finished":
        return on, keys.stream(stream).counts, f"{group}.joined"
    return None


def _stored(edge: Edge) -> str:
    """The table or collection of an edge, as the audit names it."""
    return ".".join(part for part in (edge.connection, edge.database, edge.table) if part)


def _out(flow: Flow, keys: Keys, name: str) -> _Place | None:
    worker = flow.workers.get(name)
    stream = worker.source if worker else flow.edges[name].anchor
    if stream not in flow.streams:  # its books are not in a Redis
        return None
    return flow.streams[stream].on, keys.stream(stream).counts, f"{name}.out"


def _apply(client: Client, keys: Keys, found: Sequence[Correction], who: str) -> None:
    record = msgspec.json.encode(Rebased(int(time.time() * 1000), who, tuple(found)))
    args = [record, MOST_RECORDS, *(part for one in found for part in (one.field, one.by))]
    script("rebase").run(client, [keys.rebased, *(one.key for one in found)], args)
