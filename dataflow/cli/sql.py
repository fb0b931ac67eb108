"""`dataflow sql`: ask a flow's warehouse."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path

import click

from dataflow.connections import resolve
from dataflow.errors import UnknownName, UserError
from dataflow.flow.load import load
from dataflow.flow.spec import Flow
from dataflow.warehouse import connect

FORMATS: Mapping[str, str] = {
    "table": "PrettyCompactMonoBlock",
    "json": "JSONEachRow",
    "csv": "CSVWithNames",
    "tsv": "TabSeparatedWithNames",
}
"""What --format offers -> the ClickHouse output format."""


@click.command()
@click.argument("statement", required=False)
@click.option(
    "-f",
    "--flow",
    "flow_path",
    type=click.Path(path_type=Path),
    default="flow.yml",
    show_default=True,
    help="The flow whose warehouse is asked.",
)
@click.option("--connection", metavar="NAME", help="Which one, where the flow has several ClickHouse connections.")
@click.option(
    "--format",
    "form",
    type=click.Choice(list(FORMATS)),
    help="A table (default on a terminal), CSV (default elsewhere), TSV, or one JSON object per line.",
)
@click.option("--json", "as_json", is_flag=True, help="The same as --format json.")
@click.option("--write", is_flag=True, help="Allow statements that change the warehouse.")
@click.option(
    "--timeout",
    "timeout_s",
    type=click.FloatRange(0.1, 600),
    default=60.0,
    show_default=True,
    metavar="SECONDS",
    help="How long a question may take.",
)
def sql(
    statement: str | None,
    flow_path: Path,
    connection: str | None,
    form: str | None,
    as_json: bool,
    write: bool,
    timeout_s: float,
) -> None:
    """Ask a flow's warehouse.

    STATEMENT is one statement of ClickHouse SQL; without it, or with `-`, it is read from stdin. The tables of the
    flow's edges are in the database `default`.
    """
    flow = load(flow_path)
    warehouse = connect(resolve(flow).warehouse[_connection(flow, connection)])
    text = _statement(statement)
    _print(warehouse.query(text, FORMATS[_form(form, as_json)], write=write, timeout_s=timeout_s))


def _print(result: bytes) -> None:
    """All of it: where Python runs unbuffered (PYTHONUNBUFFERED), one write to a pipe takes as much as it likes."""
    rest = memoryview(result)
    while rest:
        rest = rest[sys.stdout.buffer.write(rest) :]


def _statement(argument: str | None) -> str:
    if argument not in (None, "-"):
        return str(argument)
    if argument is None and sys.stdin.isatty():
        raise click.UsageError("there is no statement: give one, or pipe one in")
    try:
        return sys.stdin.buffer.read().decode()
    except UnicodeDecodeError as error:
        raise UserError(f"the statement on stdin is not UTF-8 ({error})") from error


def _form(form: str | None, as_json: bool) -> str:
    if as_json:
        return "json"
    return form or ("table" if sys.stdout.isatty() else "csv")


def _connection(flow: Flow, wanted: str | None) -> str:
    names = [connection.name for connection in flow.connections.values() if connection.kind == "clickhouse"]
    if not names:
        raise UnknownName(f"flow {flow.name!r} has no ClickHouse connection: there is no warehouse to ask")
    if wanted is None and len(names) > 1:
        raise UserError(f"flow {flow.name!r} has several warehouses: choose one with --connection {'|'.join(names)}")
    if wanted is not None and wanted not in names:
        raise UnknownName(f"flow {flow.name!r} has no ClickHouse connection {wanted!r}, but {', '.join(names)}")
    return wanted or names[0]
