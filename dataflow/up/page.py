"""The one page of status that `up` shows in a terminal. Pure: a `View` in, something to print out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from dataflow.masking import mask_urls
from dataflow.run_file import RunFile
from dataflow.up.depths import Depth
from dataflow.up.supervisor import ChildStatus

_COLOURS = {
    "running": "green",
    "starting": "yellow",
    "restarting": "red",
    "stopping": "yellow",
    "stopped": "dim",
}


@dataclass(frozen=True, slots=True)
class View:
    """Everything that the page shows. `depths` is None while Redis does not answer."""

    flow: str
    flow_path: Path
    run: RunFile
    children: Sequence[ChildStatus]
    depths: Sequence[Depth] | None
    events: Sequence[str]
    logs: Path


def render(view: View) -> RenderableType:
    """The page."""
    return Group(
        Text(f"flow {view.flow}  {view.flow_path}", style="bold"),
        _children(view.children),
        _depths(view.depths),
        Text("\n".join(addresses(view.run))),
        Text("\n".join(hints(view.flow_path, view.run, view.logs)), style="dim"),
        Text("\n".join(f"  {event}" for event in view.events), style="dim"),
    )


def addresses(run: RunFile) -> list[str]:
    """Where things answer, one line each."""
    redis = [f"redis {name}: {mask_urls(url)}" for name, url in run.redis.items()]
    warehouse = [f"warehouse {name}: embedded, ask with `dataflow sql`" for name in run.warehouse]
    mongo = [f"mongo {name}: {mask_urls(url)}" for name, url in run.mongo.items()]
    scheduler = [f"scheduler: {run.scheduler}"] if run.scheduler else []
    sync = [f"sync API: {run.sync}"] if run.sync else []
    return [f"hub: {run.hub}", *sync, *scheduler, *redis, *warehouse, *mongo]


def hints(flow_path: Path, run: RunFile, logs: Path) -> list[str]:
    """What to do next."""
    return [
        f"send: dataflow send {_short(flow_path)} messages.jsonl   or POST a JSON list to {run.hub}/message_hub/",
        f"logs: {_short(logs)}   stop: Ctrl-C or dataflow down {_short(flow_path)}",
    ]


def duration(seconds: float) -> str:
    """`12 s`, `3 min`, `5.2 h`."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    if seconds < 6000:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"


def _children(children: Sequence[ChildStatus]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for name, justify in (
        ("process", "left"),
        ("pid", "right"),
        ("state", "left"),
        ("up", "right"),
        ("restarts", "right"),
    ):
        table.add_column(name, justify=justify, no_wrap=True)  # type: ignore[arg-type]
    table.add_column("last end", overflow="ellipsis", no_wrap=True)
    for child in children:
        table.add_row(
            child.name,
            str(child.process.pid) if child.process else "-",
            Text(child.state, style=_COLOURS[child.state]),
            duration(child.up_s) if child.process else "-",
            str(child.restarts),
            mask_urls(child.reason),
        )
    return table


def _depths(depths: Sequence[Depth] | None) -> RenderableType:
    if depths is None:
        return Text("streams: Redis does not answer\n", style="yellow")
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("stream", no_wrap=True)
    for name in ("messages", "room", "dead letters"):
        table.add_column(name, justify="right")
    for depth in depths:
        dead = Text(f"{depth.dead:,}", style="red" if depth.dead else "")
        table.add_row(depth.stream, f"{depth.messages:,}", f"{depth.max_len:,}", dead)
    return table


def _short(path: Path) -> str:
    """A path as one would type it here."""
    here = Path.cwd()
    return str(path.relative_to(here)) if path.is_relative_to(here) else str(path)
