"""The flow in its Redis: applied, run by somebody, and its edges at work."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime

from dataflow.doctor.finding import Finding
from dataflow.errors import DataflowError
from dataflow.flow.spec import Flow
from dataflow.status import EdgeStatus, Status, gather
from dataflow.store.redis import Client


def examine(flow: Flow, clients: Mapping[str, Client]) -> list[Finding]:
    """Look at the state of a flow. Blocks. A server that is away is left to others to tell."""
    try:
        return list(judge(flow, gather(flow, clients)))
    except DataflowError:
        return []


def judge(flow: Flow, seen: Status) -> Iterator[Finding]:
    """What is to be said about the state of a flow. Pure."""
    for name, applied in seen.applied.items():
        if not applied.revision or not applied.current:
            what = "is not" if not applied.revision else "is, with another text of the file,"
            text = f"the flow {what} applied to connection {name!r}"
            yield Finding(f"flow {flow.name}", "wrong", "applied", text, "run `dataflow apply`")
    alive = {(process.kind, process.name.rpartition("@")[0]) for process in seen.processes if not process.gone}
    yield from _processes(flow, alive)
    for edge in seen.edges:
        yield from _edge(edge)
    for alarm in seen.alarms:
        text = f"alarm {alarm.kind} about {alarm.subject}: {alarm.text}"
        yield Finding(f"flow {flow.name}", "note", "alarm", text, "docs/OPERATIONS.md tells what each alarm means")


def _edge(edge: EdgeStatus) -> Iterator[Finding]:
    subject = f"edge {edge.name}"
    if edge.paused:
        remedy = f"mend the cause, then `dataflow resume {edge.name}`"
        yield Finding(subject, "wrong", "paused", f"it is paused and moves nothing: {edge.paused}", remedy)
    elif edge.trouble:
        text = f"its last run, at {_when(edge.last_run.at_ms)}, went wrong: {edge.trouble}"
        yield Finding(subject, "wrong", "failed", text, "mend the cause; the next run begins where this one ended")
    elif edge.last_run.at_ms:
        yield Finding(subject, "ok", "ran", f"its last run ended well, at {_when(edge.last_run.at_ms)}")


def _when(at_ms: int) -> str:
    return datetime.fromtimestamp(at_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def _processes(flow: Flow, alive: Iterable[tuple[str, str]]) -> Iterator[Finding]:
    wanted = [("worker", name) for name in flow.workers] + ([("sync", "sync")] if flow.edges else [])
    for kind, name in wanted:
        subject = f"worker {name}" if kind == "worker" else kind
        if (kind, name) in set(alive):
            yield Finding(subject, "ok", "running", "it runs")
        else:
            command = "dataflow sync" if kind == "sync" else f"dataflow worker {flow.path.name} {name}"
            yield Finding(subject, "wrong", "running", "no process of it was heard of", f"start it: `{command}`")
