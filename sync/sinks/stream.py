"""Into streams of one Redis, each batch once: the target keeps a marker per lineage.

A message is forwarded as it stands. Its path gets this edge and the time at which the batch was frozen, so that a
repeated batch is the same to the byte.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from dataflow.errors import InvalidMessage
from dataflow.faults import show
from dataflow.flow.spec import Edge, Flow, Route
from dataflow.ids import nodes_of
from dataflow.message import MAX_FIELDS, MID, PATH, Codec, child_id, extend_path
from dataflow.store.keys import Keys
from dataflow.store.memory import EDGE_MARK, Gauge
from dataflow.store.redis import Client
from dataflow.store.target import StreamTarget
from sync.sink import Batch, Marker, Mode, Prepared, Refusal, Row, Verdict

MOST_PARTS: Final = 2 * (MAX_FIELDS + 8)
"""Names and values of the largest message, with room for the fields of ours."""

Judge = Callable[[Row], Refusal | None]


class StreamSink:
    """Places batches in the target streams of an s2s edge. Mode `marker`: exactly once, whoever sends and how often.

    Args:
        flow, edge: as declared.
        redis: the server of the target streams; it may be another than the source's. Not closed here.
    """

    def __init__(self, flow: Flow, edge: Edge, redis: Client) -> None:
        self._edge = edge
        self._redis = redis
        self._keys = Keys(flow.name)
        self._keeps_mid = flow.keeps_mid(edge.name)
        self._streams = list(edge.target_streams)
        self._choose = _chooser(edge, self._streams)
        closing = _closing(flow, edge)
        self._judges = [_judge(flow, name, closing.get(name)) for name in self._streams]
        self._takes_all = edge.route is None and not closing and flow.streams[self._streams[0]].schema is None
        self._gauge = Gauge(redis)
        self._at = [self._keys.stream(name) for name in self._streams if name not in closing]
        self._target = StreamTarget(redis, self._keys, edge.name, self._streams)

    @property
    def mode(self) -> Mode:
        """`marker`."""
        return "marker"

    def open(self) -> None:
        """Nothing to learn: the streams are declared in the flow."""

    def close(self) -> None:
        """Nothing to let go of: the client is shared."""

    def handshake(self, lineage: str, epoch: int) -> Marker:
        """Shut out runners with a lower epoch; see Sink."""
        known = self._target.handshake(lineage, epoch)
        return Marker(known.seq, known.epoch, known.digest, known.run_id)

    def prepare(self, rows: Sequence[Row], verdict: Verdict | None) -> Prepared:
        """Choose the target of each row and refuse what fits none. The payload is the messages, packed but for the hop
        that is added to their paths, and their number: this may run while the batch before is on its way.

        Nothing new is begun while the target's memory is short: raises ServerFull. To close a cycle never waits: it
        takes no memory, and all others on the cycle wait for it in the end.
        """
        if verdict is None:
            self._gauge.check_ahead(EDGE_MARK, self._at)
            verdict = self._decide(rows)
        targets = verdict.extra["to"]
        chosen = [targets] * len(rows) if isinstance(targets, int) else targets
        left_out = verdict.refused.keys() | verdict.skip
        forward = _forward if verdict.extra["keeps_mid"] else self._child
        pairs = zip(chosen, map(forward, rows), strict=True)
        messages = [pair for index, pair in enumerate(pairs) if index not in left_out] if left_out else list(pairs)
        return Prepared(verdict, (StreamTarget.pack(messages), len(messages)))

    def write(self, batch: Batch, prepared: Prepared) -> int:
        """Place the batch; see Sink. Returns the rows that it holds at the target."""
        verdict = prepared.verdict
        messages, count = prepared.payload
        there = [id_ for index, id_ in enumerate(batch.ids) if index not in verdict.refused]
        target = self._target_of(verdict.extra["streams"])
        hop = extend_path("", self._edge.name, batch.frozen_ms)
        target.place(batch.lineage, batch.epoch, batch.seq, batch.digest, there, messages, batch.prev, hop)
        return int(count)

    def _child(self, row: Row) -> Row:
        """The same as a message of its own, made out of the one that was read."""
        return _ordered(row, _bytes(child_id(_text(_value(row, MID)), self._edge.name, 0)))

    def _decide(self, rows: Sequence[Row]) -> Verdict:
        chosen: list[int] = []
        refused: dict[int, Refusal] = {}
        if self._takes_all and max(map(len, rows)) <= MOST_PARTS:
            return Verdict(extra=self._extra(0))
        for index, row in enumerate(rows):
            target = self._choose(row)
            if isinstance(target, int):
                why = self._judges[target](row)
            else:
                why, target = target, 0
            chosen.append(target)
            if why is not None:
                refused[index] = why
        return Verdict(refused, extra=self._extra(0 if len(self._streams) == 1 else chosen))

    def _extra(self, to: int | list[int]) -> dict[str, Any]:
        """What decides the content beside the rows: target of all rows or of each, and what becomes of message ids."""
        return {"streams": self._streams, "to": to, "keeps_mid": self._keeps_mid}

    def _target_of(self, streams: Sequence[str]) -> StreamTarget:
        """Where a batch goes was frozen with it; the flow may have changed since."""
        if list(streams) == self._streams:
            return self._target
        return StreamTarget(self._redis, self._keys, self._edge.name, streams)


def _forward(row: Row) -> Row:
    """The entry that a target gets out of the row that was read: as it stands, with `_mid` and `_path` first."""
    return row if row[2:3] == [PATH] and row[0] == MID else _ordered(row)


def _ordered(row: Row, mid: bytes = b"") -> Row:
    """The same for a row without a path, one whose fields stand in another order, or one that gets another id."""
    pairs = list(zip(row[::2], row[1::2], strict=True))
    own = dict(pairs)
    rest = [part for pair in pairs if pair[0] not in (MID, PATH) for part in pair]
    return [MID, mid or own.get(MID, b""), PATH, own.get(PATH, b""), *rest]


def _text(value: bytes | None) -> str:
    """As text, whatever bytes another program wrote."""
    return (value or b"").decode(errors="surrogateescape")


def _bytes(text: str) -> bytes:
    return text.encode(errors="surrogateescape")


def _chooser(edge: Edge, streams: Sequence[str]) -> Callable[[Row], int | Refusal]:
    """How the target of a row is found: its number in `streams`, or why there is none."""
    if edge.route is None:
        return lambda row: 0
    return _Router(edge.route, streams)


class _Router:
    """Chooses by the text of one field."""

    def __init__(self, route: Route, streams: Sequence[str]) -> None:
        numbers = {name: number for number, name in enumerate(streams)}
        self._by = route.by.encode()
        self._cases = {value.encode(): numbers[name] for value, name in route.cases.items()}
        self._other = None if route.other is None else numbers[route.other]

    def __call__(self, row: Row) -> int | Refusal:
        value = _value(row, self._by)
        number = self._other if value is None else self._cases.get(value, self._other)
        if number is not None:
            return number
        field = self._by.decode()
        if value is None:
            reason = "the route decides by this field, which is absent or null, and has no `other`"
        else:
            reason = f"no case of the route is for {show(value)}, and it has no `other`"
        return Refusal(field, "", reason, foreseen=True)


def _value(row: Row, name: bytes) -> bytes | None:
    """The value of a field; None if it is absent."""
    at = -1
    while True:
        try:
            at = row.index(name, at + 1)
        except ValueError:
            return None
        if at % 2 == 0:
            return row[at + 1]


@dataclass(frozen=True, slots=True)
class _HopLimit:
    """Refuses what has been on a cycle for too long: whose path would get more than `most` hops by these steps."""

    steps: frozenset[str]
    most: int

    def __call__(self, row: Row) -> Refusal | None:
        path = _value(row, PATH) or b""
        hops = 1 + sum(node in self.steps for node in nodes_of(_text(path)))
        if hops <= self.most:
            return None
        reason = f"max_hops: this would be hop {hops} on the cycle, {self.most} are allowed"
        return Refusal("_path", "", reason, foreseen=True)


def _closing(flow: Flow, edge: Edge) -> dict[str, _HopLimit]:
    """The targets by which an edge closes a cycle, with what it may pass on there."""
    cycle = None if edge.max_hops is None else flow.cycle(edge.source)
    if cycle is None or edge.max_hops is None:
        return {}
    limit = _HopLimit(cycle.steps, edge.max_hops)
    return {name: limit for name in edge.target_streams if name in cycle.closing}


def _judge(flow: Flow, stream: str, limit: _HopLimit | None) -> Judge:
    """Whether a row may be placed in a stream: it has hops left, it fits the stream's schema, an entry can hold it."""
    fits = _judge_fields(flow, stream)
    if limit is None:
        return fits
    return lambda row: limit(row) or fits(row)


def _judge_fields(flow: Flow, stream: str) -> Judge:
    declared = flow.streams[stream].schema
    if declared is None:
        return _judge_size
    codec = Codec(declared)

    def judge(row: Row) -> Refusal | None:
        try:
            codec.decode(row)
        except InvalidMessage as error:
            fault = error.faults[0]
            known: Any = declared.get(fault.field)
            return Refusal(fault.field, known.type if known else "", f"{fault.text} (stream {stream})")
        return _judge_size(row)

    return judge


def _judge_size(row: Row) -> Refusal | None:
    if len(row) <= MOST_PARTS:
        return None
    return Refusal("", "", f"{len(row) // 2} fields; a message has at most {MAX_FIELDS}")
