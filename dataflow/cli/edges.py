"""`dataflow resume` and `dataflow run`: what a person does with an edge."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import click

from dataflow.cli.arguments import json_option
from dataflow.cli.common import Site, flow_option, known, print_json, split_flow
from dataflow.errors import DataflowError, OutcomeUnknown, ServerAway
from dataflow.flow.spec import Edge
from dataflow.store.resume import Resumed
from dataflow.store.resume import resume as lift_pause

ASK_S = 120.0


@click.command()
@click.argument("words", nargs=-1, required=True, metavar="[FLOW] EDGE")
@flow_option
@click.option("--bury", is_flag=True, help="Messages that are there now and do not fit go to the dead letters.")
@click.option("--accept-loss", is_flag=True, help="Give up what is lost already, and go on with what is there.")
@json_option
def resume(words: tuple[str, ...], flow_path: Path | None, bury: bool, accept_loss: bool, as_json: bool) -> None:
    """Let an EDGE go on that has paused itself.

    `dataflow status` says why it has. Without an option it goes on where it stopped, and pauses again if the reason is
    still there. --bury is for messages that do not fit their target; --accept-loss for messages that were deleted by
    hand from a batch under way, and for batches that the target had and has lost (restored from an older copy).
    """
    path, rest = split_flow(words, flow_path)
    with Site(path) as site:
        edge = _edge(site, rest)
        source = site.client(site.flow.streams[edge.anchor].on)
        targets = edge.target_streams
        target = site.client(site.flow.streams[targets[0]].on) if targets else None
        done = lift_pause(site.flow, edge, source, target, accept_loss=accept_loss, bury=bury)
        site.note("edge resume", edge.name, accept_loss=accept_loss, bury=bury, was_paused=done.was_paused)
    if as_json:
        print_json(done)
    else:
        click.echo("\n".join(_sentences(edge.name, done)))


@click.command()
@click.argument("words", nargs=-1, required=True, metavar="[FLOW] EDGE")
@flow_option
@click.option("--max-batches", type=click.IntRange(1), help="Most batches to move.  [default: until nothing is left]")
@json_option
def run(words: tuple[str, ...], flow_path: Path | None, max_batches: int | None, as_json: bool) -> None:
    """Run an EDGE once, now, and say what it did. Safe beside anything else that runs it.

    It runs in this process; an edge into the embedded ClickHouse runs in the process that owns that (`dataflow up` or
    `dataflow sync`), and this command waits for it.
    """
    path, rest = split_flow(words, flow_path)
    with Site(path) as site:
        edge = _edge(site, rest)
        elsewhere = edge.kind == "s2ch" and site.flow.connections[edge.connection or ""].embedded
        told = _ask(path, edge, max_batches) if elsewhere else _run_here(site, edge, max_batches)
        site.note("edge run", edge.name, state=told["state"], read=told["read"])
    if as_json:
        print_json(told)
    else:
        click.echo(
            f"edge {edge.name}: {told['state']}; {told['read']} messages moved in {told['seconds']:.2f} s, "
            f"{told['dead']} of them to the dead letters; {told['remaining']} left"
        )
    if told["error"]:
        subject = f"edge {edge.name!r}: "
        raise DataflowError(subject + told["error"].removeprefix(subject))


def _edge(site: Site, rest: list[str]) -> Edge:
    if len(rest) != 1:
        raise click.UsageError("name one edge")
    return site.flow.edges[known(rest[0], site.flow.edges, "edge")]


def _sentences(name: str, done: Resumed) -> list[str]:
    said = [f"edge {name} goes on" if done.was_paused else f"edge {name} was not paused"]
    if done.lost_entries:
        said.append(f"given up: {done.lost_entries} messages that were deleted from its open batch")
    if done.lost_batches:
        said.append(f"given up: {done.lost_batches} batches that the target has lost")
    return said


def _run_here(site: Site, edge: Edge, max_batches: int | None) -> dict[str, Any]:
    from sync.edges import run_edge
    from sync.servers import Servers

    servers = Servers(site.resolved)
    try:
        return run_edge(site.flow, edge.name, servers, max_batches=max_batches).as_dict()
    finally:
        servers.close()


def _ask(path: Path, edge: Edge, max_batches: int | None) -> dict[str, Any]:
    os.environ["DATAFLOW_FLOW"] = str(path.resolve())
    from celery.exceptions import TimeoutError as NoAnswer
    from kombu.exceptions import OperationalError

    from sync.app import celery_

    try:
        asked = celery_.send_task(
            "dataflow.run_edge", (edge.name, None, max_batches), expires=ASK_S, ignore_result=False, retry=False
        )
        told: dict[str, Any] = asked.get(timeout=ASK_S)
    except OperationalError as error:
        raise ServerAway(f"edge {edge.name!r} could not be asked for: {error}") from error
    except NoAnswer:
        raise OutcomeUnknown(
            f"edge {edge.name!r}: no answer within {ASK_S:g} s, it may still run: is there a `dataflow up` or "
            "`dataflow sync`?"
        ) from None
    return told
