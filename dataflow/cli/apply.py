"""`dataflow apply` and `dataflow release`: bring a flow's declaration into Redis, let go of readers."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import click

from dataflow import run_file
from dataflow.cli.arguments import json_option
from dataflow.cli.common import Site, flow_option, print_json, split_flow, with_flow
from dataflow.errors import UnknownName, UserError
from dataflow.flow.spec import Flow
from dataflow.store.declare import Applied, apply_all, declared_streams, undeclare
from dataflow.store.reading import read_stream


@click.command()
@with_flow
@json_option
def apply(flow_path: Path, as_json: bool) -> None:
    """Write the declared streams and readers of FLOW to Redis.

    It can be repeated at any time. A reader that the flow no longer has is let go of when no message waits for it, and
    kept until then. Running processes follow; what they cannot follow is said.
    """
    with Site(flow_path) as site:
        clients = site.clients
        # the home last: processes follow its revision, and find everything else in place
        done = apply_all(site.flow, {name: clients[name] for name in reversed(site.connections)})
        revisions = {name: applied.revision for name, applied in done.items()}
        site.note("apply", site.flow.name, digest=site.flow.digest, revisions=revisions)
        if as_json:
            print_json(done)
            return
        for name, applied in done.items():
            _tell(site, name, applied, flow_path)
        for line in _left_to_restart(site.flow):
            click.echo(line)


@click.command()
@click.argument("words", nargs=-1, required=True, metavar="[FLOW] READER")
@flow_option
@click.option("--yes", is_flag=True, help="Do not ask.")
@json_option
def release(words: tuple[str, ...], flow_path: Path | None, yes: bool, as_json: bool) -> None:
    """Let go of a READER that the flow no longer has, with the messages that wait for it.

    They are counted as released; other readers of the stream are not touched. READER is the name of a former worker
    or edge, or STREAM/NAME. For a reader that the flow still has: pause or remove it first.
    """
    path, rest = split_flow(words, flow_path)
    if len(rest) != 1:
        raise click.UsageError("name one reader")
    with Site(path) as site:
        connection, stream, group = _former(site, rest[0])
        client = site.client(connection)
        (view,) = [g for g in read_stream(client, site.keys, stream, exact=True).groups if g.name == group]
        if not yes:
            click.confirm(f"drop {view.waiting} messages that wait for {stream}/{group}?", abort=True, err=True)
        undeclare(client, site.keys, stream, group, release=True)
        site.note("release", f"{stream}/{group}", dropped=view.waiting)
    if as_json:
        print_json({"stream": stream, "reader": group, "released": view.waiting})
    else:
        click.echo(f"released {stream}/{group}: {view.waiting} messages dropped")


def _tell(site: Site, connection: str, applied: Applied, path: Path) -> None:
    streams = [stream for stream in site.flow.streams.values() if stream.on == connection]
    readers = sum(len(site.flow.readers(stream.name)) for stream in streams)
    click.echo(
        f"flow {site.flow.name!r} applied to {connection} as revision {applied.revision}: "
        f"{len(streams)} streams, {readers} readers"
    )
    for warning in applied.warnings:
        click.echo(f"warning: {warning}", err=True)
    for stream, group in applied.mended:
        click.echo(f"made again where it stood: {stream}/{group}")
    for new, former in applied.renamed.items():
        click.echo(f"{new} goes on where {former} stood, which the flow no longer has")
    for name in applied.dropped:
        click.echo(f"let go of: {name}")
    for held in applied.held:
        click.echo(
            f"kept: {held.stream}/{held.group}, which the flow no longer has, for {held.waiting} messages wait for it. "
            f"Put it back to handle them, or drop them: dataflow release {path} {held.stream}/{held.group}"
        )


def _left_to_restart(flow: Flow) -> Iterator[str]:
    """What a running `up` cannot follow by itself: it goes on with the workers that it began with."""
    run = run_file.read(run_file.data_folder(flow.path))
    if run is None or not run.in_force:
        return
    running = {name.removeprefix("worker.") for name in run.children if name.startswith("worker.")}
    changed = [f"starts worker {name}" for name in flow.workers if name not in running]
    changed += [f"ends worker {name}" for name in sorted(running - set(flow.workers))]
    if changed:
        yield f"restart `dataflow up` (pid {run.up.pid}) to follow: that {', '.join(changed)}"


def _former(site: Site, name: str) -> tuple[str, str, str]:
    """Connection, stream and name of a reader that Redis has and the flow has not."""
    found = [
        (connection, stream, group.name)
        for connection, client in site.clients.items()
        for stream in declared_streams(client, site.keys)
        for group in read_stream(client, site.keys, stream).groups
        if group.declared and name in (group.name, f"{stream}/{group.name}")
    ]
    former = [reader for reader in found if reader[2] not in site.flow.readers(reader[1])]
    if len(former) > 1:
        names = ", ".join(f"{stream}/{group}" for _, stream, group in former)
        raise UserError(f"there are several readers {name!r}: say which of {names}")
    if former:
        return former[0]
    if found:
        raise UserError(
            f"{name!r} is a reader of the flow: take it out of the flow file and run `dataflow apply` first"
        )
    raise UnknownName(f"Redis has no reader {name!r} that the flow has not")
