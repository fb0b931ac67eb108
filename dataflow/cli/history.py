"""`dataflow history`: who changed what, when."""

from __future__ import annotations

from pathlib import Path

import click

from dataflow.access.history import KEPT, Entry, read
from dataflow.cli.arguments import json_option
from dataflow.cli.common import Site, print_json, show, table, with_flow
from dataflow.cli.dlq import moment


@click.command()
@with_flow
@click.option(
    "-n", "--limit", type=click.IntRange(1, 2 * KEPT), default=50, show_default=True, help="Most changes to show."
)
@json_option
def history(flow_path: Path, limit: int, as_json: bool) -> None:
    """Show who changed what in FLOW, the newest last: tasks, edges, readers, replays, keys."""
    with Site(flow_path) as site:
        entries = read(site.home, site.keys, limit)
    if as_json:
        print_json([_plain(entry) for entry in entries])
        return
    made = table("changes", ("when", "who", "what", "subject"), (), ("facts", "request"))
    for entry in entries:
        facts = " ".join(f"{name}={value}" for name, value in entry.facts.items())
        made.add_row(moment(entry.at_ms), entry.who, entry.what, entry.subject, facts, entry.request)
    show(made)


def _plain(entry: Entry) -> dict[str, object]:
    return {
        "at": moment(entry.at_ms), "who": entry.who, "what": entry.what, "subject": entry.subject,
        "request": entry.request, "facts": entry.facts,
    }  # fmt: skip
