"""`dataflow task`: look at tasks and their runs, and say what they should be.

Everything goes through the documents, so it works wherever MongoDB can be reached; then it is waited for until the
scheduler has followed.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import asdict
from datetime import datetime, tzinfo
from pathlib import Path
from typing import Any, Final

import click

from dataflow.access import history
from dataflow.cli.arguments import json_option
from dataflow.cli.common import flow_option, number, print_json, show, split_flow, table
from dataflow.errors import DataflowError, UnknownName, UserError
from dataflow.flow.load import load
from dataflow.masking import masked
from dataflow.schedule import zone
from dataflow.store.keys import Keys
from dataflow.store.redis import Client
from dataflow.store.redis import connect as connect_redis
from scheduler.addresses import addresses
from scheduler.machine import decide, state_of
from scheduler.record import Record
from scheduler.task import Task, tasks_of
from scheduler.tasks import Tasks, connect

FOLLOWS_S: Final = 30.0
"""How long a scheduler may take to follow a document."""


@click.group()
def task() -> None:
    """Look at tasks and their runs; run, pause, resume and remove them.

    A task is named by its id; that of an edge with a schedule is the edge's name. FLOW is the flow file, flow.yml by
    default.
    """


@task.command("ls")
@click.argument("words", nargs=-1, metavar="[FLOW]")
@flow_option
@json_option
def list_(words: tuple[str, ...], flow_path: Path | None, as_json: bool) -> None:
    """List the tasks: what each is and should be, when it is due, how its last run ended."""
    site, rest = _site(words, flow_path)
    if rest:
        raise click.UsageError("`task ls` takes no task; see `task show`")
    found = [site.view(one) for _, one in sorted(tasks_of(site.tasks.read()).items())]
    if as_json:
        print_json(found)
        return
    made = table(
        f"tasks of {site.tasks.machine}", ("task", "job", "is", "should be"), ("runs", "errors"), ("next", "last run")
    )
    for one in found:
        last = one["history"][-1] if one["history"] else None
        made.add_row(
            one["task_id"], one["job"], one["state"], one["wish"], number(one["runs"]), number(one["errors"]),
            one["next_run"], f"{last['ended_at']} {last['state']} {last['error']}" if last else one["why"],
        )  # fmt: skip
    show(made)


@task.command("show")
@click.argument("words", nargs=-1, required=True, metavar="[FLOW] TASK")
@flow_option
@json_option
def show_(words: tuple[str, ...], flow_path: Path | None, as_json: bool) -> None:
    """Show one TASK: its document, and its last runs with results and errors."""
    site, rest = _site(words, flow_path)
    view = site.view(Task.of(site.find(rest)))
    if as_json:
        print_json(view)
        return
    for name, value in view.items():
        if name != "history" and value not in ("", None):
            click.echo(f"{name:12} {value}")
    made = table("last runs", ("tick", "ended", "state"), (), ("facts", "error"))
    for one in view["history"]:
        facts = _facts(one)
        made.add_row(one["tick"], one["ended_at"], one["state"], facts, one["error"])
    show(made)


@task.command()
@click.argument("words", nargs=-1, required=True, metavar="[FLOW] TASK")
@flow_option
@click.option("--timeout", "timeout_s", type=click.FloatRange(min=0), default=60.0, show_default=True, help="Seconds.")
@json_option
def run(words: tuple[str, ...], flow_path: Path | None, timeout_s: float, as_json: bool) -> None:
    """Run TASK once, now, whatever state it is in, and tell how the run ended."""
    site, rest = _site(words, flow_path)
    one = Task.of(site.find(rest))
    asked = int(time.time() * 1000)
    site.tasks.ask(one.pid, asked)
    site.note("task run", rest[0])
    site.wait(lambda: (site.tasks.record(one.pid) or {}).get("done", 0) >= asked, timeout_s, "the run has not ended")
    last = site.view(one)["history"][-1]
    if as_json:
        print_json(last)
    else:
        facts = _facts(last)
        click.echo(f"task {rest[0]}: {last['state']}" + (f"; {facts}" if facts else ""))
    if last["error"]:
        raise DataflowError(f"task {rest[0]!r}: {last['error']}")


@task.command()
@click.argument("words", nargs=-1, required=True, metavar="[FLOW] TASK")
@flow_option
def pause(words: tuple[str, ...], flow_path: Path | None) -> None:
    """Let TASK's ticks not fire. What it would move waits; nothing is lost."""
    _wish(words, flow_path, "paused")


@task.command()
@click.argument("words", nargs=-1, required=True, metavar="[FLOW] TASK")
@flow_option
def resume(words: tuple[str, ...], flow_path: Path | None) -> None:
    """Let TASK's ticks fire again, also if it was removed."""
    _wish(words, flow_path, "running")


@task.command()
@click.argument("words", nargs=-1, required=True, metavar="[FLOW] TASK")
@flow_option
def rm(words: tuple[str, ...], flow_path: Path | None) -> None:
    """Take TASK off the schedule. Its document and its history stay; `task resume` brings it back."""
    _wish(words, flow_path, "init")


class _Site:
    """The documents of a flow's machine."""

    def __init__(self, tasks: Tasks, home: tzinfo, redis: Client, keys: Keys) -> None:
        self.tasks = tasks
        self._home = home
        self._redis, self._keys = redis, keys

    def note(self, what: str, task_id: str) -> None:
        """Write what this person wished into the history."""
        history.record(self._redis, self._keys, history.person(), what, task_id)

    def find(self, words: list[str]) -> dict[str, Any]:
        """The document of the one task that is named. Raises UnknownName."""
        if len(words) != 1:
            raise click.UsageError("name one task")
        found = self.tasks.find(words[0])
        if found is None:
            known = ", ".join(sorted(one.task_id for one in tasks_of(self.tasks.read()).values())) or "none at all"
            raise UnknownName(f"machine {self.tasks.machine!r} has no task {words[0]!r}, but {known}")
        return found

    def view(self, task: Task) -> dict[str, Any]:
        """A task and its runs, for people and for JSON."""
        record = Record.of(self.tasks.record(task.pid) or {})
        view = {
            "task_id": task.task_id,
            "description": task.description,
            "job": task.job_name,
            "arguments": _shown(task.kwargs),
            "schedule": _shown(task.schedule),
            "start": task.start,
            "end": task.end,
            "enabled": task.enabled,
            "state": str(task.said or "init"),
            "wish": str(task.wish or ""),
            "why": record.why or task.remark,
            "next_run": self._at(record.next_run) if task.said == "running" else "",
            "runs": record.runs,
            "errors": record.errors,
            "skipped": record.skipped,
            "under_way": record.under_way,
            "history": [
                {**asdict(one), "tick": self._at(one.tick), "ended_at": self._at(one.ended_at)}
                for one in record.history
            ],
        }
        return {name: masked(value) for name, value in view.items()}

    def wait(self, holds: Callable[[], bool], timeout_s: float, complaint: str) -> None:
        """Wait until the scheduler has done something. Raises DataflowError."""
        deadline = time.monotonic() + timeout_s
        while not holds():
            if time.monotonic() > deadline:
                raise DataflowError(
                    f"the wish is written, but {complaint} after {timeout_s:g} s: is there a `dataflow up` or "
                    "`dataflow scheduler`?"
                )
            time.sleep(0.1)

    def _at(self, ms: int) -> str:
        return datetime.fromtimestamp(ms / 1000, self._home).strftime("%Y-%m-%d %H:%M:%S") if ms else ""


def _shown(value: object) -> object:
    """What should be names and values. Text may hold them in a way of its own, a secret among them: its type then."""
    return value if value is None or isinstance(value, Mapping | list) else f"({type(value).__name__})"


def _facts(run: Mapping[str, Any]) -> str:
    """What there is to say about a run, for people."""
    facts = run["facts"].items()
    return ", ".join(f"{name} {value:.3g}" if isinstance(value, float) else f"{name} {value}" for name, value in facts)


def _site(words: tuple[str, ...], flow_path: Path | None) -> tuple[_Site, list[str]]:
    path, rest = split_flow(words, flow_path)
    flow = load(path)
    redis_url, mongo_url = addresses(flow)
    connect(mongo_url)
    redis = connect_redis(redis_url)
    return _Site(Tasks(flow.machine), zone(flow.scheduler.timezone), redis, Keys(flow.name)), rest


def _wish(words: tuple[str, ...], flow_path: Path | None, wish: str) -> None:
    """Write the wish into the document, and wait until it is so and no run is under way that it forbids."""
    site, rest = _site(words, flow_path)
    one = Task.of(site.find(rest))
    decision = decide(state_of(one.said), wish)
    if decision.why:
        raise UserError(f"task {one.task_id!r}: it is {state_of(one.said)}, and cannot become {wish}")
    if not one.enabled and wish != "init":
        raise UserError(f"task {one.task_id!r} is disabled: is_enable is 0 in its document")
    site.tasks.set(one.key, set_to_status=wish)
    site.note(f"task {wish}", one.task_id)

    def followed() -> bool:
        at_rest = wish == "running" or not Record.of(site.tasks.record(one.pid) or {}).under_way
        return at_rest and Task.of(site.find(rest)).said == wish

    site.wait(followed, FOLLOWS_S, f"the task is not {wish}")
    click.echo(f"task {one.task_id} is {wish}")
