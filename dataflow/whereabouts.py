"""Where a message is: looked for in the streams of a flow, in what came back, died or waits, and in its tables.

There is no index of messages. An id tells when its message was born, and streams are ordered by time, so the search
begins there and looks at a bounded number of entries per stream.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from redis.exceptions import ResponseError

from dataflow.errors import DataflowError, InvalidMessage
from dataflow.flow.spec import Flow, Stream
from dataflow.ids import foreign_id, mid_time_ms
from dataflow.message import MID, Codec
from dataflow.store.keys import Keys
from dataflow.store.redis import Client, call
from dataflow.warehouse import Warehouse

State = Literal["in_work", "waiting", "retrying", "dead", "done", "unknown"]
"""in_work: a worker has it. waiting: for a worker or an edge. retrying: in back-off, or come back to its reader.
dead: among the dead letters. done: its output is in an out stream or a table. unknown: not found."""

SCAN_ENTRIES = 20_000
"""Most entries looked at per stream."""
CLOCK_SKEW_MS = 2000
_PAGE = 1000
_FOUND = 50


@dataclass(frozen=True, slots=True)
class Place:
    """Somewhere the message, or one made from it, is. `reader` is who has to do with it, "" for nobody."""

    state: State
    where: str
    reader: str
    mid: str
    detail: str = ""


@dataclass(slots=True)
class Whereabouts:
    """Everything found. `output`: the messages it became, as far as they are in out streams or tables.

    complete: False when some stream holds more entries than were looked at, or a table could not be asked.
    """

    mid: str
    state: State = "unknown"
    places: list[Place] = field(default_factory=list)
    output: list[dict[str, Any]] = field(default_factory=list)
    complete: bool = True

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


def find(flow: Flow, redis: Mapping[str, Client], tables: Mapping[str, Warehouse], mid: str) -> Whereabouts:
    """Look a message up. Reads only; blocks for a few round trips per stream.

    Args:
        redis: connection name -> client, for every Redis of the flow's streams.
        tables: connection name -> warehouse, for those that can be asked.

    Raises ServerAway, OutcomeUnknown when a Redis does not answer. A table that does not is left out.
    """
    found = Whereabouts(mid)
    for stream in flow.streams.values():
        search = _Search(flow, redis[stream.on], stream, found)
        search.entries()
        for reader in flow.readers(stream.name):
            search.of_reader(reader)
    _look_in_tables(flow, tables, found)
    found.state = _state_of(found.places)
    return found


def _state_of(places: list[Place]) -> State:
    order: tuple[State, ...] = ("in_work", "waiting", "retrying", "dead", "done")
    return next((state for state in order if any(place.state == state for place in places)), "unknown")


class _Search:
    """Looks through one stream and what belongs to it."""

    def __init__(self, flow: Flow, redis: Client, stream: Stream, found: Whereabouts) -> None:
        self._flow, self._redis, self._stream, self._found = flow, redis, stream, found
        self._keys = Keys(flow.name)
        self._mid = found.mid.encode()
        born_ms = mid_time_ms(found.mid)
        self._start = b"-" if born_ms is None else b"%d" % max(0, born_ms - CLOCK_SKEW_MS)

    def entries(self) -> None:
        """The stream itself, with what each of its readers has done about the message."""
        name, key = self._stream.name, self._keys.stream(self._stream.name).stream
        readers = self._flow.readers(name)
        for id_, fields in self._matching(key, name):
            mid = _mid_of(fields) or foreign_id(name, id_.decode())
            states = {reader: self._state(key, reader, id_) for reader in readers}
            for reader, state in states.items():
                if state != "done":
                    self._add(state, name, reader, mid)
            if self._stream.direction == "out" or not readers:
                self._add("done", name, "", mid)
                self._output(fields, name)

    def of_reader(self, reader: str) -> None:
        """What came back to a reader, what waits to come back, and what died with it."""
        name = self._stream.name
        retry = self._keys.retry(name, reader).stream
        for _, fields in self._matching(retry, f"{name}:retry"):
            self._add("retrying", f"{name}:retry", reader, _mid_of(fields))
        for _, fields in self._matching(self._keys.dead(name, reader).stream, f"{name}:dead"):
            pairs = dict(zip(fields[::2], fields[1::2], strict=True))
            why = b": ".join((pairs.get(b"_dead_reason", b""), pairs.get(b"_dead_error", b"")))
            self._add("dead", f"{name}:dead", reader, _mid_of(fields), why.decode(errors="replace"))
        for packed in call(self._redis, "ZRANGE", self._keys.parked(name, reader), 0, SCAN_ENTRIES - 1):
            if self._mid in packed:
                self._add("retrying", f"{name}:parked", reader, self._found.mid)

    def _add(self, state: State, where: str, reader: str, mid: str, detail: str = "") -> None:
        if len(self._found.places) < _FOUND:
            self._found.places.append(Place(state, where, reader, mid, detail))

    def _output(self, fields: list[bytes], where: str) -> None:
        if len(self._found.output) >= _FOUND:
            return
        try:
            message = Codec(self._stream.schema).decode(fields).message
        except InvalidMessage as fault:
            message = {"unreadable": str(fault)}
        self._found.output.append({"where": where, "mid": _mid_of(fields), "message": message})

    def _matching(self, key: str, name: str) -> Iterator[tuple[bytes, list[bytes]]]:
        """Entries whose message is the one looked for, or one made from it."""
        start, looked_at = self._start, 0
        while looked_at < SCAN_ENTRIES:
            page = call(self._redis, "XRANGE", key, start, b"+", b"COUNT", _PAGE)
            for id_, fields in page:
                mid = _mid_of(fields).encode() or foreign_id(name, id_.decode()).encode()
                if mid == self._mid or mid.startswith(self._mid + b"."):
                    yield id_, fields
            if len(page) < _PAGE:
                return
            looked_at += len(page)
            start = b"(" + page[-1][0]
        self._found.complete = False

    def _state(self, key: str, reader: str, id_: bytes) -> State:
        try:
            if call(self._redis, "XPENDING", key, reader, id_, id_, 1):
                return "in_work"
            groups = [
                dict(zip(flat[::2], flat[1::2], strict=True)) for flat in call(self._redis, "XINFO", "GROUPS", key)
            ]
        except ResponseError:  # the group, or the stream, is not there: nobody has begun
            return "waiting"
        last = next((group[b"last-delivered-id"] for group in groups if group[b"name"] == reader.encode()), b"0-0")
        return "waiting" if _order(id_) > _order(last) else "done"


def _look_in_tables(flow: Flow, tables: Mapping[str, Warehouse], found: Whereabouts) -> None:
    for edge in flow.edges.values():
        if edge.kind != "s2ch" or edge.connection is None or edge.table is None:
            continue
        where = f"{edge.connection}.{edge.table}"
        table = ".".join("`" + part.replace("`", "``") + "`" for part in edge.table.split("."))
        sql = f"SELECT * FROM {table} WHERE _mid = {{mid:String}} OR startsWith(_mid, {{made:String}}) LIMIT {_FOUND}"
        try:
            rows = tables[edge.connection].rows(sql, {"mid": found.mid, "made": found.mid + "."}, timeout_s=5.0)
        except (KeyError, DataflowError):  # no such table yet, or nobody answers: the answer says it is not complete
            found.complete = False
            continue
        for row in rows:
            found.places.append(Place("done", where, "", str(row["_mid"])))
            found.output.append({"where": where, "mid": row["_mid"], "message": row})


def _mid_of(fields: list[bytes]) -> str:
    if fields[:1] == [MID]:
        return fields[1].decode(errors="replace")
    pairs = dict(zip(fields[::2], fields[1::2], strict=True))
    return pairs.get(MID, b"").decode(errors="replace")


def _order(id_: bytes) -> tuple[int, int]:
    ms, _, seq = id_.partition(b"-")
    return int(ms), int(seq)
