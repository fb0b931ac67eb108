"""`dataflow doctor`: is this deployment sound, and if not, what has to be changed?"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import click
from rich.table import Table
from rich.text import Text

from dataflow.broker import broker_url
from dataflow.cli.arguments import json_option
from dataflow.cli.common import Site, print_json, show, table, with_flow
from dataflow.doctor import broker, certificates, clickhouse, doors, machine, mongo, redis
from dataflow.doctor import flow as applied
from dataflow.doctor.clickhouse import TableFacts
from dataflow.doctor.finding import Finding, is_well
from dataflow.errors import DataflowError
from dataflow.flow.spec import Connection, Edge
from dataflow.run_file import data_folder
from dataflow.store.live import Live, live
from dataflow.warehouse import connect

WRONG_EXIT_CODE = 1
_COLOURS = {"ok": "green", "note": "yellow", "wrong": "bold red"}


@click.command()
@with_flow
@click.option("--hub", metavar="URL", help="Where the hub answers, if not on this machine as the flow says.")
@click.option("--scheduler", metavar="URL", help="The same for the scheduler.")
@click.option("--sync-api", metavar="URL", help="The same for the API that runs edges.")
@click.option("--problems", is_flag=True, help="Leave out what is well.")
@json_option
def doctor(
    flow_path: Path, hub: str | None, scheduler: str | None, sync_api: str | None, problems: bool, as_json: bool
) -> None:
    """Check the deployment of FLOW: servers, their settings, what runs, this machine; say what to change.

    Nothing is changed; for a moment there are keys {FLOW}:doctor in Redis. Exit code 1 if something is wrong; notes are
    advice. Run it where the flow runs, as the user and with the environment of its services. A hub or scheduler that
    does not answer on this machine is known by its heartbeat.
    """
    told = {"hub": hub, "scheduler": scheduler, "sync-api": sync_api}
    with Site(flow_path) as site:
        found = examine(site, {name: url.rstrip("/") for name, url in told.items() if url})
    chosen = [finding for finding in found if not (problems and finding.level == "ok")]
    if as_json:
        print_json({"well": is_well(found), "findings": chosen})
    else:
        if chosen:
            show(_table(chosen))
        click.echo(_summary(found))
    if not is_well(found):
        raise click.exceptions.Exit(WRONG_EXIT_CODE)


def examine(site: Site, told: Mapping[str, str]) -> list[Finding]:
    """Everything about a deployment, in the order of the flow file. Servers are asked at the same time.

    Args:
        told: hub, scheduler, sync-api -> base URL, where the flow's own is not meant.
    """
    with ThreadPoolExecutor(max_workers=8) as pool:
        by_connection = list(pool.map(lambda connection: _connection(site, connection), _used(site)))
    found = [finding for findings in by_connection for finding in findings]
    away = any(finding.code in ("unreachable", "refused") and finding.subject.startswith("redis") for finding in found)
    return [
        *found,
        *_broker(site),
        *([] if away else applied.examine(site.flow, site.clients)),
        *_doors(site, told, () if away else _heard_of(site)),
        *_here(site),
    ]


def _used(site: Site) -> Iterator[Connection]:
    """The connections that something of the flow uses."""
    flow = site.flow
    tasks = {flow.scheduler.tasks} if flow.scheduled else set()
    names = {*flow.redis_connections, *tasks, *(edge.connection for edge in flow.edges.values())}
    return (connection for connection in flow.connections.values() if connection.name in names)


def _connection(site: Site, connection: Connection) -> list[Finding]:
    return [*certificates.examine(f"{connection.kind} {connection.name}", connection.url), *_server(site, connection)]


def _server(site: Site, connection: Connection) -> list[Finding]:
    name = connection.name
    try:
        if connection.kind == "redis":
            return redis.examine(name, site.resolved.redis[name], site.flow.name)
        edges = [edge for edge in site.flow.edges.values() if edge.connection == name]
        if connection.kind == "mongo":
            return mongo.examine(name, site.resolved.mongo[name], [edge for edge in edges if edge.kind == "mongo2s"])
        warehouse = connect(site.resolved.warehouse[name], in_database=False)  # an edge may be going to make it
        return clickhouse.examine(name, warehouse, edges, lambda edge: _look_at_table(site, edge))
    except DataflowError as error:  # an address that cannot be used, an embedded server that does not run
        return [Finding(f"{connection.kind} {name}", "wrong", "unreachable", str(error), "correct this connection")]


def _look_at_table(site: Site, edge: Edge) -> TableFacts | None:
    from sync.ddl_command import AskedWarehouse, table_at
    from sync.sinks.clickhouse.table import read_table

    if edge.connection is None or edge.table is None:
        return None
    address = site.resolved.warehouse[edge.connection]
    found = read_table(AskedWarehouse(connect(address, in_database=False)), table_at(address, edge.table))
    if found is None:
        return None
    return TableFacts(str(found.name), found.engine, found.mode, found.window, found.has_mid)


def _broker(site: Site) -> list[Finding]:
    streams = {name: site.resolved.redis[name] for name in site.connections if name in site.resolved.redis}
    if not site.flow.edges or site.flow.home not in streams:
        return []
    url = broker_url(streams[site.flow.home])
    return [*certificates.examine(broker.SUBJECT, url), *broker.examine(url, streams)]


def _doors(site: Site, told: Mapping[str, str], processes: Iterable[Live]) -> Iterator[Finding]:
    """Asked where they are told to be; else on this machine, and if nobody answers here, by their heartbeats."""
    urls = {"hub": site.resolved.hub_url}
    if site.flow.scheduled:
        urls["scheduler"] = site.resolved.scheduler_url
    if site.flow.edges:
        urls["sync-api"] = site.resolved.sync_url
    for name, url in urls.items():
        found = doors.examine(name, told.get(name, url), site.flow.name)
        silent = name not in told and any(finding.code == "unreachable" for finding in found)
        yield from (doors.heard(name, processes) if silent else []) or found


def _heard_of(site: Site) -> list[Live]:
    try:
        return live(site.home, site.keys)
    except DataflowError:  # told by what looks at the flow
        return []


def _here(site: Site) -> list[Finding]:
    embedded = any(connection.embedded for connection in _used(site))
    return machine.examine(data_folder(site.flow.path), embedded=embedded)


def _table(found: Sequence[Finding]) -> Table:
    made = table("", ("", "what", "is so", "to do"))
    for finding in found:
        level = Text(finding.level, style=_COLOURS[finding.level])
        made.add_row(level, finding.subject, Text(finding.text), Text(finding.remedy))
    return made


def _summary(found: Iterable[Finding]) -> str:
    levels = [finding.level for finding in found]
    said = f"doctor: wrong={levels.count('wrong')} notes={levels.count('note')} ok={levels.count('ok')}"
    return f"{said}; change what is wrong" if "wrong" in levels else said
