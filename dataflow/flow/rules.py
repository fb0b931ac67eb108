"""The five rules of a net. Each is a pure function of a Flow that yields findings of one code.

A node is a worker, a database or the hub.

    R1  a node never leads straight to another node
    R2  every exit of a node is a stream
    R3  every entry of a node is a stream
    R4  a stream is an in or an out: an in is filled by the hub and by edges, an out by workers; workers read
        ins, edges read both
    R5  only a worker processes a stream; this one holds by the shape of the file, where nothing else may have a
        handler (`shape.py`, code F305)

A reference that could not be read is an empty name here; rules pass over it.
"""

from __future__ import annotations

from collections.abc import Iterator

from dataflow.flow.build import direction_of
from dataflow.flow.ends import ends, known_ends, what_is
from dataflow.flow.findings import Finding, Where, shown
from dataflow.flow.spec import Flow, Stream

# -- R1 to R3: what stands where a stream should

_CODE_OF_NODE = {
    ("worker", "from"): "F301",
    ("worker", "to"): "F301",
    ("s2ch", "from"): "F301",
    ("s2mongo", "from"): "F301",
    ("s2s", "from"): "F302",
    ("s2s", "to"): "F303",
    ("mongo2s", "to"): "F301",
}
_CODE_OF_EDGE = {
    ("worker", "from"): "F303",
    ("worker", "to"): "F302",
    ("s2ch", "from"): "F303",
    ("s2mongo", "from"): "F303",
    ("s2s", "from"): "F302",
    ("s2s", "to"): "F303",
    ("mongo2s", "to"): "F302",
}


def node_to_node(flow: Flow) -> Iterator[Finding]:
    """R1 (F301): two nodes without a stream between them."""
    return _misplaced(flow, "F301")


def exit_is_a_stream(flow: Flow) -> Iterator[Finding]:
    """R2 (F302): what leaves a node goes to a stream."""
    return _misplaced(flow, "F302")


def entry_is_a_stream(flow: Flow) -> Iterator[Finding]:
    """R3 (F303): what enters a node comes from a stream."""
    return _misplaced(flow, "F303")


def _misplaced(flow: Flow, code: str) -> Iterator[Finding]:
    for end in ends(flow):
        what = what_is(flow, end.name)
        codes = _CODE_OF_EDGE if what == "the edge" else _CODE_OF_NODE
        if what not in ("a stream", "") and codes[end.kind, end.way] == code:
            yield end.finding(code, what=what, name=shown(end.name))


# -- R4: ins and outs


def direction_is_clear(flow: Flow) -> Iterator[Finding]:
    """R4 (F304): a direction is told by the name or by `direction:`, and not one by each."""
    for stream in flow.streams.values():
        by_name = direction_of(stream.name)
        if stream.direction not in ("in", "out"):
            yield _unclear(stream, "does not say which")
        elif by_name and by_name != stream.direction:
            yield _unclear(stream, f"is an {by_name} by its name and an {stream.direction} by its direction")


def _unclear(stream: Stream, reason: str) -> Finding:
    values = {"name": shown(stream.name), "reason": reason}
    return Finding("F304", _direction(stream), values)


def workers_read_ins(flow: Flow) -> Iterator[Finding]:
    """R4 (F306)."""
    return _wrong_way(flow, "F306", "worker", "from", "out")


def workers_write_outs(flow: Flow) -> Iterator[Finding]:
    """R4 (F307)."""
    return _wrong_way(flow, "F307", "worker", "to", "in")


def edges_write_ins(flow: Flow) -> Iterator[Finding]:
    """R4 (F308)."""
    yield from _wrong_way(flow, "F308", "s2s", "to", "out")
    yield from _wrong_way(flow, "F308", "mongo2s", "to", "out")


def _wrong_way(flow: Flow, code: str, kind: str, way: str, direction: str) -> Iterator[Finding]:
    for end, stream in known_ends(flow):
        if (end.kind, end.way, stream.direction) == (kind, way, direction):
            yield end.finding(code, _direction(stream), name=shown(end.step.name), stream=shown(stream.name))


def requests_enter_ins(flow: Flow) -> Iterator[Finding]:
    """R4 (F309): the hub fills ins."""
    for stream in flow.streams.values():
        if stream.accepts and stream.direction == "out":
            path: Where = ("streams", stream.name, "accepts")
            yield Finding("F309", path, {"name": shown(stream.name)}, because=(_direction(stream),))


def _direction(stream: Stream) -> Where:
    return ("streams", stream.name, "direction")
