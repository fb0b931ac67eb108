"""A flow as a picture: Mermaid for documents, lines of text for a terminal. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from dataflow.flow.findings import shown
from dataflow.flow.spec import Edge, Flow


@dataclass(frozen=True, slots=True)
class Arrow:
    """One connection of the picture. Ends are (kind, name); the label is empty where the arrow speaks for itself."""

    tail: tuple[str, str]
    head: tuple[str, str]
    label: str = ""


def arrows(flow: Flow) -> Iterator[Arrow]:
    """Everything that moves messages: the hub, then workers, then edges, in the order of the file."""
    for stream in flow.streams.values():
        if stream.accepts:
            yield Arrow(("hub", "hub"), ("stream", stream.name), " / ".join(stream.accepts))
    for worker in flow.workers.values():
        yield Arrow(("stream", worker.source), ("worker", worker.name))
        for target in worker.targets:
            yield Arrow(("worker", worker.name), ("stream", target))
    for edge in flow.edges.values():
        for head, case in _heads(edge):
            label = f"{edge.name} ({_kind(flow, edge, head[1])})" + (f": {case}" if case else "")
            yield Arrow(_tail(edge), head, label)


def _tail(edge: Edge) -> tuple[str, str]:
    """What an edge reads."""
    return ("stream", edge.source) if edge.source else ("table", edge.reads)


def _kind(flow: Flow, edge: Edge, stream: str) -> str:
    """The kind of an edge; and where it closes a cycle, how long messages may stay on that."""
    cycle = None if edge.max_hops is None else flow.cycle(edge.source)
    closes = cycle is not None and stream in cycle.closing
    return f"{edge.kind}, at most {edge.max_hops} hops" if closes else edge.kind


def _heads(edge: Edge) -> Iterator[tuple[tuple[str, str], str]]:
    """Where an edge leads to, and which messages go there."""
    if edge.table is not None and edge.source:
        yield ("table", f"{edge.connection}.{edge.table}"), ""
    if edge.to_stream is not None:
        yield ("stream", edge.to_stream), ""
    if edge.route is not None:
        for value, stream in edge.route.cases.items():
            yield ("stream", stream), f"{edge.route.by} = {value}"
        if edge.route.other is not None:
            yield ("stream", edge.route.other), "all others"


_SHAPES: Mapping[str, tuple[str, str]] = {
    "hub": ("{{", "}}"),
    "stream": ("([", "])"),
    "worker": ("[", "]"),
    "table": ("[(", ")]"),
}


def mermaid(flow: Flow) -> str:
    """The flow as a Mermaid flowchart.

    The hub is a hexagon, streams are stadiums, workers boxes, tables cylinders, edges labelled arrows. Ends with
    a newline.
    """
    found = list(arrows(flow))
    streams = [("stream", name) for name in flow.streams]
    nodes = dict.fromkeys([end for one in found for end in (one.tail, one.head)] + streams)
    ids = {node: f"n{number}" for number, node in enumerate(nodes)}
    lines = [f"    {ids[node]}{_drawn(*node)}" for node in nodes]
    lines += [f"    {ids[one.tail]} -->{_label(one.label)} {ids[one.head]}" for one in found]
    return "\n".join(["flowchart LR", *lines]) + "\n"


def _drawn(kind: str, name: str) -> str:
    left, right = _SHAPES[kind]
    return f"{left}{_quoted(name)}{right}"


def _label(text: str) -> str:
    return f"|{_quoted(text)}|" if text else ""


def _quoted(text: str) -> str:
    """Text for Mermaid: anything but the plainest characters as entities, which it shows as they were."""
    plain = set(" ._-/:()=")
    return '"' + "".join(c if c.isalnum() or c in plain else f"#{ord(c)};" for c in text) + '"'


def text(flow: Flow) -> str:
    """The flow as one line per arrow, printable by any terminal. Ends with a newline if there is any."""
    return "".join(f"{_worded(*one.tail)} {_line(one.label)} {_worded(*one.head)}\n" for one in arrows(flow))


def _line(label: str) -> str:
    return f"-- {shown(label, limit=200, quote=False)} -->" if label else "-->"


def _worded(kind: str, name: str) -> str:
    return {"hub": "(hub)", "worker": f"[{name}]", "table": f"[({name})]"}.get(kind, name)
