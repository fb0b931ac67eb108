"""What a cycle of streams must satisfy, so that messages neither stand still nor go round for ever. Pure functions."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from dataflow.flow.ends import End, leads_nowhere, targets
from dataflow.flow.findings import Finding, Where, shown
from dataflow.flow.spec import Edge, Flow


def cycles_are_declared(flow: Flow) -> Iterator[Finding]:
    """F407: streams that lead back to themselves, and no edge on the way says how often. Reported where it closes."""
    steps: dict[str, list[End]] = {name: [] for name in flow.streams}
    for end, _ in targets(flow):
        if end.step.source in steps and not leads_nowhere(end) and not _is_limited(end):
            steps[end.step.source].append(end)
    done: set[str] = set()
    for start in flow.streams:
        yield from _cycles_from(start, steps, done)


def _cycles_from(start: str, steps: Mapping[str, list[End]], done: set[str]) -> Iterator[Finding]:
    """Depth first, without recursion: a flow may be a chain of any length."""
    trail = [] if start in done else [(start, iter(steps[start]))]
    while trail:
        name, left = trail[-1]
        end = next(left, None)
        on_trail = [one for one, _ in trail]
        if end is None:
            done.add(name)
            trail.pop()
        elif end.name in on_trail:
            cycle = [*on_trail[on_trail.index(end.name) :], end.name]
            yield Finding("F407", end.path, {"cycle": " -> ".join(shown(one) for one in cycle)})
        elif end.name not in done:
            trail.append((end.name, iter(steps[end.name])))


def _is_limited(end: End) -> bool:
    return isinstance(end.step, Edge) and end.step.max_hops is not None


def limits_close_cycles(flow: Flow) -> Iterator[Finding]:
    """F416: a limit where nothing comes back."""
    for edge in flow.edges.values():
        cycle = flow.cycle(edge.source)
        if edge.max_hops is not None and (cycle is None or edge.name not in cycle.steps):
            path: Where = ("edges", edge.name, "max_hops")
            yield Finding("F416", path, {"name": shown(edge.name)}, because=tuple(_ways(flow)))


def cycles_stay_on_one_server(flow: Flow) -> Iterator[Finding]:
    """F417: a cycle over two servers. Reported where it first leaves one."""
    told: set[str] = set()
    for end, stream in targets(flow):
        source = flow.streams.get(end.step.source)
        if source is None or end.kind != "s2s" or source.on == stream.on:
            continue
        cycle = flow.cycle(source.name)
        if cycle and stream.name in cycle.streams and stream.name not in told:
            told.update(cycle.streams)
            yield end.finding(
                "F417",
                ("streams", source.name, "on"),
                ("streams", stream.name, "on"),
                name=shown(end.step.name),
                source_on=shown(source.on),
                stream=shown(stream.name),
                target_on=shown(stream.on),
            )


def _ways(flow: Flow) -> Iterator[Where]:
    """Every place that says where messages go."""
    for section, names in (("workers", flow.workers), ("edges", flow.edges)):
        yield (section,)
        for name in names:
            yield from ((section, name, key) for key in ("from", "to", "route"))
