"""`dataflow audit`: check that no message was lost or doubled."""

from __future__ import annotations

import getpass
import socket
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import click
from rich.table import Table as RichTable
from rich.text import Text

from dataflow.audit import Documents, Finding, Table, is_clean
from dataflow.audit import audit as audit_flow
from dataflow.cli.arguments import json_option
from dataflow.cli.common import Site, number, print_json, show, table, with_flow
from dataflow.errors import UserError
from dataflow.mongo import Collections
from dataflow.rebase import Correction, history
from dataflow.rebase import rebase as rebase_flow
from dataflow.warehouse import Warehouse, connect

DRIFT_EXIT_CODE = 1
_COLOURS = {"ok": "green", "drift": "bold red", "note": "yellow", "unchecked": "yellow"}


class Tables:
    """The tables of one warehouse."""

    def __init__(self, warehouse: Warehouse) -> None:
        self._warehouse = warehouse

    def count(self, table: str) -> tuple[int, int]:
        """(rows, different `_mid`s). Raises ServerAway, QueryFailed."""
        name = ".".join(f"`{part}`" for part in table.split("."))
        (row,) = self._warehouse.rows(f"SELECT count() AS n, uniqExact(_mid) AS mids FROM {name}")
        return int(row["n"]), int(row["mids"])


@click.command()
@with_flow
@click.option("--problems", is_flag=True, help="Leave out what is well.")
@click.option("--rebase", is_flag=True, help="Take what is found as the new beginning: correct the counters.")
@click.option("--yes", is_flag=True, help="With --rebase: do not ask.")
@json_option
def audit(flow_path: Path, problems: bool, rebase: bool, yes: bool, as_json: bool) -> None:
    """Check that no message of FLOW was lost or doubled.

    Every equation compares what the counters say with the real streams and tables; processes may run meanwhile.
    States: ok; drift (messages are missing or too many); note (a difference that is no loss, such as entries of other
    programs); unchecked (why, is said). Exit code 0 if nothing drifts, 1 if something does, 3 if Redis is away.

    A drift after a loss stays until somebody has looked into it and says --rebase: that corrects counters, not
    messages, and is written down with your name.
    """
    with Site(flow_path) as site:
        tables, collections = warehouses(site), documents(site)
        found = audit_flow(site.flow, site.clients, tables, collections)
        corrected: list[Correction] = []
        if rebase and not is_clean(found):
            _confirm(found, yes)
            who = f"{getpass.getuser()}@{socket.gethostname()}"
            corrected = rebase_flow(site.flow, site.clients, tables, who, collections)
            site.note("audit rebase", site.flow.name, corrections=len(corrected), by=sum(one.by for one in corrected))
            found = audit_flow(site.flow, site.clients, tables, collections)
        former = [one for client in site.clients.values() for one in history(site.flow, client)]
    chosen = [finding for finding in found if not (problems and finding.state == "ok")]
    if as_json:
        findings = [_as_dict(finding) for finding in chosen]
        told = {"corrected": corrected} if rebase else {}
        print_json({"clean": is_clean(found), "findings": findings, **told})
    else:
        if chosen:
            show(_table(chosen))
        for one in corrected:
            click.echo(f"corrected {one.key} {one.field} by {one.by:+} ({one.subject}: {one.equation})")
        if former:
            last = max(former, key=lambda one: one.at_ms)
            at = datetime.fromtimestamp(last.at_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S")
            click.echo(f"counters were corrected {len(former)} times, the last time by {last.who} at {at} UTC")
        click.echo(summary(found))
    if not is_clean(found):
        raise click.exceptions.Exit(DRIFT_EXIT_CODE)


def _confirm(found: Sequence[Finding], yes: bool) -> None:
    drifts = [one for one in found if one.state == "drift"]
    for one in drifts:
        sides = f"{one.left} - {one.right} = {one.drift:+}"
        click.echo(f"{one.check} {one.subject}: {one.equation}: {sides} ({one.text})", err=True)
    if not yes:
        click.confirm(f"take these {len(drifts)} differences as known and correct the counters?", abort=True, err=True)


def warehouses(site: Site) -> dict[str, Table]:
    """The warehouses of a flow that can be asked from here."""
    found: dict[str, Table] = {}
    for edge in site.flow.edges.values():
        name = edge.connection
        if name is None or name not in site.resolved.warehouse:
            continue
        try:
            found[name] = Tables(connect(site.resolved.warehouse[name]))
        except UserError:  # of a kind that cannot be asked; the audit says so
            continue
    return found


def documents(site: Site) -> dict[str, Documents]:
    """The MongoDB servers of a flow's edges that can be asked from here."""
    names = {edge.connection for edge in site.flow.edges.values() if edge.connection in site.resolved.mongo}
    return {name: Collections(site.mongo(name)) for name in names if name is not None}


def summary(found: Sequence[Finding]) -> str:
    """One line: how many equations stand how."""
    counts = Counter(finding.state for finding in found)
    parts = [f"{counts[state]} {state}" for state in ("ok", "note", "unchecked", "drift") if counts[state]]
    return f"audit: {'clean' if is_clean(found) else 'DRIFT'}: {', '.join(parts)} of {len(found)}"


def _as_dict(finding: Finding) -> dict[str, object]:
    return {
        "check": finding.check,
        "subject": finding.subject,
        "equation": finding.equation,
        "left": finding.left,
        "right": finding.right,
        "drift": finding.drift,
        "state": finding.state,
        "text": finding.text,
    }


def _table(found: Sequence[Finding]) -> RichTable:
    made = table("", ("check", "of", "equation"), ("left", "right", "drift"), ("state", ""))
    for finding in found:
        drift = f"{finding.drift:+,}" if finding.drift else ""
        state = Text(finding.state, style=_COLOURS[finding.state])
        made.add_row(
            finding.check, finding.subject, finding.equation, number(finding.left), number(finding.right), drift,
            state, finding.text,
        )  # fmt: skip
    return made
