"""What a net must satisfy beyond the five rules, so that messages can flow. Pure functions of a Flow."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from dataflow.flow.ends import leads_nowhere, targets
from dataflow.flow.findings import Finding, Where, did_you_mean, shown
from dataflow.flow.spec import Edge, Flow, Stream
from dataflow.schedule import BOUNDS, CRON_FIELDS, INTERVAL_FIELDS, BadSchedule, trigger, zone


def streams_are_read(flow: Flow) -> Iterator[Finding]:
    """F401: a stream that nothing reads and nothing keeps short."""
    readers = (*_sources(flow.workers, "workers"), *_sources(flow.edges, "edges"))
    read = {worker.source for worker in flow.workers.values()} | {edge.source for edge in flow.edges.values()}
    for name, stream in flow.streams.items():
        kept = stream.keep_messages is not None or stream.keep_hours is not None
        if not kept and name not in read:
            because = (*readers, ("streams", name, "keep"))
            yield Finding("F401", ("streams", name), {"name": shown(name)}, because=because, harmless=True)


def batches_fit(flow: Flow) -> Iterator[Finding]:
    """F402: a batch larger than half of a target."""
    for end, stream in targets(flow):
        step = end.step
        if step.batch * 2 > stream.max_len:
            values = {
                "batch": step.batch,
                "name": shown(step.name),
                "stream": shown(stream.name),
                "max_len": stream.max_len,
                "limit": max(1, stream.max_len // 2),
                "need": step.batch * 2,
            }
            because = (("streams", stream.name, "max_len"), end.path)
            yield Finding("F402", (*end.path[:2], "batch"), values, because=because)


def hops_stay_on_one_server(flow: Flow) -> Iterator[Finding]:
    """F403: a worker whose streams live on two servers."""
    for end, stream in targets(flow):
        source = flow.streams.get(end.step.source)
        if source and end.kind == "worker" and source.on != stream.on:
            yield end.finding(
                "F403",
                ("streams", source.name, "on"),
                ("streams", stream.name, "on"),
                name=shown(end.step.name),
                source_on=shown(source.on),
                stream=shown(stream.name),
                target_on=shown(stream.on),
            )


def targets_are_on_one_server(flow: Flow) -> Iterator[Finding]:
    """F413: an edge into streams on two servers."""
    first: dict[str, Stream] = {}
    for end, stream in targets(flow):
        known = first.setdefault(end.step.name, stream)
        if end.kind == "s2s" and stream.on != known.on:
            yield end.finding(
                "F413",
                ("streams", known.name, "on"),
                ("streams", stream.name, "on"),
                name=shown(end.step.name),
                first=shown(known.name),
                first_on=shown(known.on),
                stream=shown(stream.name),
                on=shown(stream.on),
            )


def requests_enter_one_server(flow: Flow) -> Iterator[Finding]:
    """F404: accepting streams on two servers."""
    accepting = list(_accepting(flow))
    for stream in accepting[1:]:
        first = accepting[0]
        if stream.on != first.on:
            names = {"name": shown(stream.name), "on": shown(stream.on)}
            firsts = {"first": shown(first.name), "first_on": shown(first.on)}
            path: Where = ("streams", stream.name, "on")
            yield Finding("F404", path, {**names, **firsts}, because=(("streams", first.name, "on"),))


def requests_have_one_way(flow: Flow) -> Iterator[Finding]:
    """F405: two streams that accept the same."""
    first: dict[tuple[str, str], str] = {}
    for stream in _accepting(flow):
        if stream.accepts and all(stream.accepts):
            known = first.setdefault(stream.accepts, stream.name)
            if known != stream.name:
                path: Where = ("streams", stream.name, "accepts")
                yield Finding("F405", path, {"name": shown(stream.name), "first": shown(known)})


def edges_lead_on(flow: Flow) -> Iterator[Finding]:
    """F409: an edge from a stream to itself."""
    for end, stream in targets(flow):
        if leads_nowhere(end):
            yield end.finding("F409", name=shown(end.step.name), stream=shown(stream.name))


def created_tables_have_columns(flow: Flow) -> Iterator[Finding]:
    """F408: a table to be made from nothing."""
    for edge, stream in _creating(flow):
        if stream.schema is None:
            path: Where = ("edges", edge.name, "create_table")
            yield Finding("F408", path, {"name": shown(edge.name), "stream": shown(stream.name)})


def created_columns_have_types(flow: Flow) -> Iterator[Finding]:
    """F410: a column to be made whose type nobody told."""
    for edge, stream in _creating(flow):
        for index, column in enumerate(edge.columns or ()):
            if stream.schema and column and column not in stream.schema and column != "_mid":
                close = did_you_mean(column, stream.schema)
                names = {"name": shown(edge.name), "column": shown(column), "stream": shown(stream.name)}
                path: Where = ("edges", edge.name, "columns", index)
                because = (("streams", stream.name, "schema"),)
                yield Finding("F410", path, {**names, "guess": close}, because=because)


def _creating(flow: Flow) -> Iterator[tuple[Edge, Stream]]:
    for edge in flow.edges.values():
        if edge.create_table and edge.source in flow.streams:
            yield edge, flow.streams[edge.source]


def aggregates_see_batches(flow: Flow) -> Iterator[Finding]:
    """F411: an aggregate of single messages."""
    for worker in flow.workers.values():
        if worker.aggregate and worker.batch_handler == "no":
            at: Where = ("workers", worker.name)
            values = {"name": shown(worker.name)}
            yield Finding("F411", (*at, "aggregate"), values, because=((*at, "batch_handler"),))


def least_batches_fit(flow: Flow) -> Iterator[Finding]:
    """F412: waiting for more messages than are ever taken."""
    for edge in flow.edges.values():
        if edge.min_batch > edge.batch:
            at: Where = ("edges", edge.name)
            values = {"name": shown(edge.name), "min_batch": edge.min_batch, "batch": edge.batch}
            yield Finding("F412", (*at, "min_batch"), values, because=((*at, "batch"),))


def schedules_can_run(flow: Flow) -> Iterator[Finding]:
    """F414: values under `task` that no clock can follow."""
    for edge in flow.edges.values():
        if edge.task:
            path: Where = ("edges", edge.name, "task")
            try:
                trigger(edge.task)
            except BadSchedule as error:
                because = tuple((*path, *part) for part in _parts(edge.task))
                yield Finding("F414", path, {"name": shown(edge.name), "reason": str(error)}, because=because)


def _parts(schedule: Mapping[str, object]) -> Iterator[Where]:
    """Every place in a schedule where something may have been found wrong before."""
    known = (*CRON_FIELDS, *BOUNDS, "timezone")
    yield from ((name,) for name in (*known, *schedule))
    for form in ("interval", "date"):
        yield from ((form, name) for name in (*INTERVAL_FIELDS, *BOUNDS, "run_date", "timezone"))
        inner = schedule.get(form)
        yield from ((form, name) for name in inner) if isinstance(inner, Mapping) else ()


def the_zone_is_known(flow: Flow) -> Iterator[Finding]:
    """F415: a time zone that nobody knows."""
    if not flow.scheduler.timezone:
        return
    try:
        zone(flow.scheduler.timezone)
    except BadSchedule as error:
        yield Finding("F415", ("scheduler", "timezone"), {"reason": str(error)})


def _accepting(flow: Flow) -> Iterator[Stream]:
    return (stream for stream in flow.streams.values() if stream.accepts)


def _sources(names: Iterable[str], section: str) -> tuple[Where, ...]:
    return ((section,), *((section, name, "from") for name in names))
