"""Where a message is: looked for in the streams of a flow, among what came back, waits or died, and in its tables.

There is no index of messages. An id tells when its message was born, and streams are ordered by time: the search
begins there, looks at a bounded number of entries per key, and says where it did not look to the end.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from typing import Any, Literal

from redis.exceptions import ResponseError

from dataflow.errors import DataflowError, InvalidMessage
from dataflow.flow.spec import Edge, Flow, Stream
from dataflow.ids import foreign_id, mid_time_ms
from dataflow.message import MID, Codec
from dataflow.store.apart import consumer_of
from dataflow.store.deadletters import dead_letter
from dataflow.store.keys import Keys
from dataflow.store.lane import id_order
from dataflow.store.reading import BENCH
from dataflow.store.redis import Client, call
from dataflow.warehouse import Warehouse

State = Literal["in_work", "retrying", "waiting", "dead", "done", "unknown"]
"""in_work: a process has it in hand. retrying: it failed and will be tried again. waiting: its turn has not come.
dead: among the dead letters. done: no worker and no stream-to-stream edge has anything left to do with it.
unknown: not found."""

SCAN_ENTRIES = 20_000
"""Most entries looked at per key."""
MAX_FOUND = 50
"""Most places, and most outputs, that are told."""

_LIVE: tuple[State, ...] = ("in_work", "retrying", "waiting")
_CLOCK_SKEW_MS = 2000
_PAGE = 200
_ORIGIN = b"_origin"


@dataclass(frozen=True, slots=True)
class Place:
    """Somewhere the message, or one made from it, is.

    where: a stream, `<stream>:retry`, `<stream>:parked`, `<stream>:dead`, or `<connection>.<table>`. reader: the worker
    or edge that has to do with it, empty for none. mid: of the message that is there. detail: who has it, why it died.
    archiving: it is an output already and only on its way into a table.
    """

    state: State
    where: str
    reader: str
    mid: str
    detail: str = ""
    archiving: bool = False


@dataclass(slots=True)
class Whereabouts:
    """Everything found about one message and those made from it.

    output: as {"where", "mid", "message"}, the messages in out streams and the rows in tables. incomplete: what was
    not looked at to the end, or could not be asked; empty if the answer is the whole truth.
    """

    mid: str
    state: State = "unknown"
    places: list[Place] = field(default_factory=list)
    output: list[dict[str, Any]] = field(default_factory=list)
    incomplete: list[str] = field(default_factory=list)

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)

    def add(self, place: Place, message: Mapping[str, Any] | None = None) -> None:
        """Note a place, and the message there if it is an output. The first 50 of each are kept."""
        if len(self.places) < MAX_FOUND:
            self.places.append(place)
        elif "more places" not in self.incomplete:
            self.incomplete.append("more places")
        if message is not None and len(self.output) < MAX_FOUND:
            self.output.append({"where": place.where, "mid": place.mid, "message": dict(message)})


def find(flow: Flow, redis: Mapping[str, Client], tables: Mapping[str, Warehouse], mid: str) -> Whereabouts:
    """Look a message up. Reads only; blocks for some round trips per stream.

    Tables are asked only when nothing is left to do with the message in the streams. What moves while it is looked
    for may be missed in both places; so what is not found is looked for twice.

    Args:
        redis: connection name -> client, for every connection that has streams.
        tables: connection name -> warehouse, for those that can be asked.

    Raises ServerAway, OutcomeUnknown when a Redis does not answer. A table that does not is told in `incomplete`.
    """
    found = _look(flow, redis, tables, mid)
    return found if found.places else _look(flow, redis, tables, mid)


def _look(flow: Flow, redis: Mapping[str, Client], tables: Mapping[str, Warehouse], mid: str) -> Whereabouts:
    found = Whereabouts(mid)
    for stream in flow.streams.values():
        search = _Search(flow, redis[stream.on], stream, found)
        search.stream()
        for reader in flow.readers(stream.name):
            search.retry(reader)
            search.parked(reader)
            search.dead(reader)
        for edge_name in flow.intakes(stream.name):
            search.dead(edge_name)
    if state_of(found.places) not in _LIVE:
        for edge in flow.edges.values():
            _look_in_table(edge, tables, found)
    found.state = state_of(found.places)
    return found


def state_of(places: Sequence[Place]) -> State:
    """The state of a message that is in these places: the one furthest from the end that is not only archiving."""
    order: tuple[State, ...] = (*_LIVE, "dead")
    states = {place.state for place in places if not place.archiving}
    return next((state for state in order if state in states), "done" if places else "unknown")


class _Search:
    """Looks through one stream and what belongs to it."""

    def __init__(self, flow: Flow, redis: Client, stream: Stream, found: Whereabouts) -> None:
        self._flow, self._redis, self._stream, self._found = flow, redis, stream, found
        self._name = stream.name
        self._keys = Keys(flow.name)
        self._key = self._keys.stream(stream.name).stream
        born_ms = mid_time_ms(found.mid)
        self._start = b"-" if born_ms is None else b"%d" % max(0, born_ms - _CLOCK_SKEW_MS)

    def stream(self) -> None:
        """The stream itself, and how far each of its readers is with the message."""
        for id_, fields in self._pages(self._key, self._name):
            mid = _text(fields, MID) or foreign_id(self._name, id_.decode())
            if not self._sought(mid):
                continue
            message = self._message(fields) if self._stream.direction == "out" else None
            readers = self._flow.readers(self._name)
            if message is not None or not readers:
                self._found.add(Place("done", self._name, "", mid), message)
            for reader in readers:
                if self._is_kept(reader, id_):
                    continue
                state, detail = self._progress(reader, id_)
                if message is None or state != "done":
                    archiving = message is not None and self._archives(reader)
                    self._found.add(Place(state, self._name, reader, mid, detail, archiving))

    def retry(self, reader: str) -> None:
        """What came back to a reader."""
        where = f"{self._name}:retry"
        for _, fields in self._pages(self._keys.retry(self._name, reader).stream, where):
            mid = _text(fields, MID) or self._foreign(_text(fields, _ORIGIN))
            if self._sought(mid):
                self._found.add(Place("retrying", where, reader, mid))

    def parked(self, reader: str) -> None:
        """What waits to come back to a reader."""
        where, key = f"{self._name}:parked", self._keys.parked(self._name, reader)
        for first in range(0, SCAN_ENTRIES, _PAGE):
            page = call(self._redis, "ZRANGE", key, first, first + _PAGE - 1)
            for packed in page:
                if self._packed_pattern.search(packed):
                    self._found.add(Place("retrying", where, reader, self._found.mid))
            if len(page) < _PAGE:
                return
        self._found.incomplete.append(where)

    def dead(self, reader: str) -> None:
        """What died with a reader."""
        where = f"{self._name}:dead"
        for id_, fields in self._pages(self._keys.dead(self._name, reader).stream, where):
            letter = dead_letter(self._name, reader, id_, fields)
            mid = letter.mid or self._foreign(letter.origin)
            if self._sought(mid):
                self._found.add(Place("dead", where, reader, mid, f"{letter.reason}: {letter.error}"))

    def _sought(self, mid: str) -> bool:
        return mid == self._found.mid or mid.startswith(self._found.mid + ".")

    def _foreign(self, origin: str) -> str:
        """The id of a message without one, by the entry that it was first."""
        return foreign_id(self._name, origin.rpartition("/")[2])

    def _archives(self, reader: str) -> bool:
        edge = self._flow.edges.get(reader)
        return edge is not None and edge.connection is not None and edge.source != ""

    def _message(self, fields: list[bytes]) -> Mapping[str, Any]:
        try:
            return Codec(self._stream.schema).decode(fields).message
        except InvalidMessage as fault:
            return {"unreadable": str(fault)}

    def _pages(self, key: str, where: str) -> Iterator[tuple[bytes, list[bytes]]]:
        """Entries from the time of the message's birth on, page by page."""
        start = self._start
        for _ in range(0, SCAN_ENTRIES, _PAGE):
            page = call(self._redis, "XRANGE", key, start, b"+", b"COUNT", _PAGE)
            yield from page
            if len(page) < _PAGE:
                return
            start = b"(" + page[-1][0]
        self._found.incomplete.append(where)

    def _progress(self, reader: str, id_: bytes) -> tuple[State, str]:
        if self._is_frozen(reader, id_):
            return "in_work", ""
        last = self._delivered.get(reader.encode())
        if last is None or id_order(id_) > id_order(last):
            return "waiting", ""
        pending = call(self._redis, "XPENDING", self._key, reader, id_, id_, 1)
        if not pending:
            return "done", ""
        owner = consumer_of(pending[0][1].decode(errors="replace"))
        return ("waiting", "") if owner == BENCH else ("in_work", owner)

    def _is_kept(self, reader: str, id_: bytes) -> bool:
        """Whether an edge has sent the entry, which is kept until the target cannot lose it any more."""
        if reader not in self._flow.edges:
            return False
        position = call(self._redis, "HGET", self._keys.edge(reader), "position")
        last = self._delivered.get(reader.encode())
        return bool(position and last) and id_order(last or b"") < id_order(id_) <= id_order(position)

    def _is_frozen(self, reader: str, id_: bytes) -> bool:
        """Whether the entry is in the batch that an edge is sending."""
        if reader not in self._flow.edges:
            return False
        first, last = call(self._redis, "HMGET", self._keys.edge(reader), "open_first", "open_last")
        return bool(first) and id_order(first) <= id_order(id_) <= id_order(last)

    @cached_property
    def _delivered(self) -> dict[bytes, bytes]:
        """Group -> the last id it was given."""
        try:
            groups = call(self._redis, "XINFO", "GROUPS", self._key)
        except ResponseError:  # the stream was removed a moment ago
            return {}
        tables = [dict(zip(flat[::2], flat[1::2], strict=True)) for flat in groups]
        return {table[b"name"]: table[b"last-delivered-id"] for table in tables}

    @cached_property
    def _packed_pattern(self) -> re.Pattern[bytes]:
        """How a parked message of the sought one begins (origin) or names it (`_mid`), packed by the script."""
        mid, size = re.escape(self._found.mid.encode()), rb"(?:[\xa0-\xbf]|\xd9.)"
        named = rb"\xa4_mid" + size + mid + rb"(?=[.\x80-\xff]|$)"
        stream, _, entry = self._found.mid.partition("/")
        if stream != self._name or not entry:
            return re.compile(named, re.DOTALL)
        origin = rb"^\x93" + size + rb"main/" + re.escape(entry.encode()) + rb"(?=[\x80-\xff])"
        return re.compile(named + rb"|" + origin, re.DOTALL)


def _look_in_table(edge: Edge, tables: Mapping[str, Warehouse], found: Whereabouts) -> None:
    if edge.connection is None or edge.table is None or not edge.source:
        return
    where = f"{edge.connection}.{edge.table}"
    if edge.kind != "s2ch":  # a collection: nobody here can ask it
        found.incomplete.append(where)
        return
    table = ".".join("`" + part.replace("\\", "\\\\").replace("`", "\\`") + "`" for part in edge.table.split("."))
    sql = f"SELECT * FROM {table} WHERE _mid = {{mid:String}} OR startsWith(_mid, {{made:String}}) LIMIT {MAX_FOUND}"
    try:
        rows = tables[edge.connection].rows(sql, {"mid": found.mid, "made": f"{found.mid}."}, timeout_s=5.0)
    except (KeyError, DataflowError):  # no such table yet, no column `_mid`, or nobody answers
        found.incomplete.append(where)
        return
    for row in rows:
        found.add(Place("done", where, "", str(row["_mid"])), row)


def _text(fields: Sequence[bytes], name: bytes) -> str:
    """The value of a field, empty if it is not there. Ours stand first, so this is quick."""
    for at in range(0, len(fields), 2):
        if fields[at] == name:
            return fields[at + 1].decode(errors="replace")
    return ""
