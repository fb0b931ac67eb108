"""`dataflow status`: one page about a running flow."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from pathlib import Path

import click
from rich.console import Group, RenderableType
from rich.live import Live
from rich.text import Text

from dataflow.cli.arguments import json_option
from dataflow.cli.common import Site, console, duration, number, print_json, print_json_line, show, table, with_flow
from dataflow.errors import ServerAway
from dataflow.status import NEARLY_FULL, EdgeStatus, MemoryStatus, ReaderStatus, Status, StreamStatus, gather
from dataflow.store.alarms import Alarm
from dataflow.store.reading import Process

SOON_S = 600.0
"""A stream that is full so soon is worth a red word."""


@click.command()
@with_flow
@click.option("--watch", is_flag=True, help="Show it again and again until Ctrl-C.")
@click.option(
    "--every", "every_s", type=click.FloatRange(0.2), default=2.0, show_default=True, help="Seconds between looks."
)
@json_option
def status(flow_path: Path, watch: bool, every_s: float, as_json: bool) -> None:
    """Show streams, readers, edges, processes and alarms of FLOW.

    A stream is held by the readers that have not finished all of it; its entries are deleted when no reader needs them.
    Of a reader that stands still the reason is told; "full in" goes by the rate of the last minute.
    With --json --watch one line of JSON is printed per look.
    """
    with Site(flow_path) as site:
        if not watch:
            seen = gather(site.flow, site.clients)
            print_json(seen) if as_json else show(page(seen))
        elif as_json:
            _watch_json(site, every_s)
        else:
            _watch(site, every_s)


def page(seen: Status) -> RenderableType:
    """The page."""
    parts: list[RenderableType] = [_headline(seen), _streams(seen), _readers(seen)]
    if seen.edges:
        parts.append(_edges(seen))
    parts.append(_processes(seen))
    if seen.alarms:
        parts.append(_alarms(seen.alarms))
    return Group(*parts)


def _watch(site: Site, every_s: float) -> None:
    with Live(console=console(), screen=False, auto_refresh=False) as live:
        while True:
            live.update(_look(site), refresh=True)
            time.sleep(every_s)


def _look(site: Site) -> RenderableType:
    """The page, or why there is none right now."""
    try:
        return page(gather(site.flow, site.clients))
    except ServerAway as error:
        return Text(f"flow {site.flow.name}: {error}", style="bold red")


def _watch_json(site: Site, every_s: float) -> None:
    while True:
        print_json_line(gather(site.flow, site.clients))
        time.sleep(every_s)


def _headline(seen: Status) -> Text:
    said = []
    for name, applied in seen.applied.items():
        if applied.revision == 0:
            said.append(f"{name}: not applied, run `dataflow apply`")
        elif not applied.current:
            said.append(f"{name}: revision {applied.revision} is of another text of the file, run `dataflow apply`")
        else:
            said.append(f"{name}: revision {applied.revision}")
    said += [_memory(name, memory) for name, memory in seen.memory.items()]
    well = all(applied.revision and applied.current for applied in seen.applied.values())
    return Text.assemble((f"flow {seen.flow}  ", "bold"), (f"{seen.path}\n"), ("; ".join(said), "" if well else "red"))


def _memory(name: str, memory: MemoryStatus) -> str:
    used = f"{name}: memory {memory.used_bytes / 2**20:,.0f} MiB"
    if memory.limit_bytes is None:
        return f"{used}, no limit set"
    door = "" if memory.door == "open" else "; the door is closed"
    return f"{used} of {memory.limit_bytes / 2**20:,.0f} ({memory.share:.0%}{door})"


def _streams(seen: Status) -> RenderableType:
    made = table("", ("stream",), ("messages", "room", "full", "full in", "added", "removed"), ("held by",))
    for stream in seen.streams:
        share = Text(f"{stream.full:.0%}", style="red" if stream.full >= NEARLY_FULL else "")
        made.add_row(
            stream.name, number(stream.depth), number(stream.max_len), share, _full_in(stream),
            number(stream.added), number(stream.removed), _held(stream),
        )  # fmt: skip
    return made


def _full_in(stream: StreamStatus) -> Text:
    """When it is full at the rate of the last minute."""
    left_s = stream.full_in_s
    if left_s is None:
        return Text("")
    return Text("now" if left_s == 0 else duration(left_s), style="red" if left_s < SOON_S else "")


def _held(stream: StreamStatus) -> Text:
    """Who holds a stream: those that stand still with the reason, the others by name."""
    said = [
        Text(f"{hold.reader}: {hold.text}", style="bold red") if hold.stands_still else Text(hold.reader)
        for hold in stream.holds
    ]
    return Text("\n").join(said) if any(hold.stands_still for hold in stream.holds) else Text(", ").join(said)


def _readers(seen: Status) -> RenderableType:
    left = ("reader", "of stream", "from")
    numbers = ("waiting", "in work", "back", "parked", "handled", "filtered", "dead", "lost", "released", "processes")
    made = table("", left, numbers)
    for stream in seen.streams:
        for reader in stream.readers:
            began = reader.join.where if reader.join else ""
            made.add_row(_reader_name(reader), stream.name, began, *_reader_numbers(reader))
    return made


def _reader_name(reader: ReaderStatus) -> Text:
    if not reader.declared:
        return Text(f"{reader.name} (not declared)", style="red")
    return Text(f"{reader.name} (not in the flow)" if reader.kind == "former" else reader.name)


def _reader_numbers(reader: ReaderStatus) -> list[Text]:
    calm = (reader.undelivered, reader.in_work, reader.coming_back, reader.parked, reader.handled, reader.filtered)
    bad = (reader.dead, reader.lost, reader.released)
    processes = number(reader.processes) if reader.kind == "worker" else ""
    return [
        *(Text(number(n)) for n in calm),
        *(Text(number(n), style="red" if n else "") for n in bad),
        Text(processes),
    ]


def _edges(seen: Status) -> RenderableType:
    made = table("", ("edge", "kind", "from", "to", "mode"), ("lag", "open", "settled", "written", "dead"), ("state",))
    for edge in seen.edges:
        made.add_row(
            edge.name, edge.kind, edge.source, edge.target, edge.mode, number(edge.lag), number(edge.open),
            number(edge.settled), number(edge.written), number(edge.dead), _state(edge),
        )  # fmt: skip
    return made


def _state(edge: EdgeStatus) -> Text:
    if edge.paused:
        return Text(f"paused: {edge.paused}", style="bold red")
    calm = "scheduled" if edge.scheduled else edge.state or ("running" if edge.runner else "no process runs it")
    if not edge.trouble:
        return Text(calm)
    return Text(f"{calm}; its last run: {edge.last_run.state}: {edge.trouble}", style="bold red")


def _processes(seen: Status) -> RenderableType:
    made = table("", ("process", "kind"), ("last heard of",), ("",))
    for process in seen.processes:
        made.add_row(process.name, process.kind, f"{process.age_s:.1f} s ago", _liveness(process))
    if not seen.processes:
        made.add_row("none was heard of within the hour", "", "", "")
    return made


def _liveness(process: Process) -> Text:
    return Text("gone", style="red") if process.gone else Text("")


def _alarms(alarms: tuple[Alarm, ...]) -> RenderableType:
    made = table("alarms", ("since", "alarm", "about", ""))
    for alarm in alarms:
        since = datetime.fromtimestamp(alarm.at_ms / 1000, UTC).astimezone().strftime("%Y-%m-%d %H:%M:%S")
        made.add_row(since, Text(alarm.kind, style="bold red"), alarm.subject, alarm.text)
    return made
