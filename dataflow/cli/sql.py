"""`dataflow sql`: ask a flow's warehouse."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from textwrap import shorten

import click

from dataflow.connections import resolve
from dataflow.errors import DataflowError, UnknownName, UserError
from dataflow.flow.load import load
from dataflow.flow.spec import Flow
from dataflow.warehouse import connect
from dataflow.warehouse.statements import split, without_comments

FORMATS: Mapping[str, str] = {
    "table": "PrettyCompactMonoBlock",
    "json": "JSONEachRow",
    "csv": "CSVWithNames",
    "tsv": "TabSeparatedWithNames",
}
"""What --format offers -> the ClickHouse output format."""
_SHOWN = 60
"""So many characters of a statement are told."""


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

    STATEMENT is one statement of ClickHouse SQL; without it, or with `-`, it is read from stdin. With --write there may
    be several with semicolons between them: they are run one by one up to the first that fails. The tables of the
    flow's edges are in the database `default`.
    """
    flow = load(flow_path)
    warehouse = connect(resolve(flow).warehouse[_connection(flow, connection)])
    text = _statement(statement)
    ask = partial(warehouse.query, format=FORMATS[_form(form, as_json)], write=write, timeout_s=timeout_s)
    if write and text.strip():
        _run_all(ask, split(text))
    else:
        _print(ask(text))


def _run_all(ask: Callable[[str], bytes], statements: Sequence[str]) -> None:
    """Run statements in their order. Raises the error of the first that fails; those before it stay done."""
    if not statements:
        click.echo("nothing to do: there are only comments", err=True)
    for at, statement in enumerate(statements):
        try:
            result = ask(statement)
        except DataflowError as error:
            if len(statements) == 1:
                raise
            raise type(error)(_stopped(statements, at, error)) from error
        _print(result)


def _stopped(statements: Sequence[str], at: int, error: DataflowError) -> str:
    done = ", ".join(map(_shown, statements[:at])) or "nothing"
    return (
        f"statement {at + 1} of {len(statements)} ({_shown(statements[at])}) failed: {error}; "
        f"done before it: {done}; not tried after it: {len(statements) - at - 1 or 'nothing'}"
    )


def _shown(statement: str) -> str:
    """How it begins, without the comments before it."""
    return shorten(without_comments(statement), _SHOWN, placeholder=" ...")


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
