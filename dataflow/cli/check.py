"""`dataflow check` and `dataflow graph`: look at a flow file without running anything."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path

import click

from dataflow.errors import FlowError, Problem
from dataflow.flow import graph as draw
from dataflow.flow.load import check as check_file
from dataflow.flow.load import load, outline
from dataflow.flow.schema import schema_text
from dataflow.flow.spec import Flow
from dataflow.unchecked import unchecked

_FLOW = click.argument("flow", type=click.Path(path_type=Path), default="flow.yml")


@click.command()
@_FLOW
@click.option("--json", "as_json", is_flag=True, help="Print the problems as a JSON list of objects.")
@click.option(
    "--without-environment",
    is_flag=True,
    help="Variables that are not set here are no problem; what they would say is not checked.",
)
@click.option("--schema", is_flag=True, help="Print the JSON Schema of flow files for an editor, and end.")
def check(flow: Path, as_json: bool, without_environment: bool, schema: bool) -> None:
    """Check a flow file and report every problem in it.

    One line per problem: file:line:column, a code, what is wrong, what to do. docs/FLOW.md explains the codes.
    Exit code 1 if there is any. Handlers are looked for but not imported, servers are not contacted.
    """
    if schema:
        click.echo(schema_text(), nl=False)
        return
    found, unset, problems = _checked(flow, without_environment)
    if as_json:
        click.echo(json.dumps([dataclasses.asdict(problem) for problem in problems], indent=1))
    elif found is not None:
        click.echo(f"{flow}: ok: {_summary(found)}{_not_set(unset)}")
        for name, options in _unchecked(found):
            click.echo(
                f"{flow}: warning: connection {name!r} turns checks of certificates off ({', '.join(options)}): "
                "whoever answers there gets the password and messages; name the authority instead (docs/SECURITY.md)",
                err=True,
            )
    else:
        click.echo("\n".join(str(problem) for problem in problems))
    if problems:
        raise click.exceptions.Exit(FlowError.exit_code)


@click.command()
@_FLOW
@click.option(
    "--format",
    "form",
    type=click.Choice(["mermaid", "text"]),
    default="mermaid",
    show_default=True,
    help="A Mermaid flowchart, or one line per arrow.",
)
def graph(flow: Path, form: str) -> None:
    """Print a flow as a picture."""
    drawn = {"mermaid": draw.mermaid, "text": draw.text}[form](load(flow))
    click.echo(drawn, nl=False)


def _checked(path: Path, without_environment: bool) -> tuple[Flow | None, Sequence[str], Sequence[Problem]]:
    """The flow, the variables that were allowed to be missing, the problems."""
    try:
        if without_environment:
            found = outline(path, handlers=True)
            return found.flow, found.unset, ()
        return check_file(path), (), ()
    except FlowError as error:
        return None, (), error.problems


def _not_set(names: Sequence[str]) -> str:
    return f"; not set here, so not checked: {', '.join(names)}" if names else ""


def _unchecked(flow: Flow) -> list[tuple[str, tuple[str, ...]]]:
    """The connections with which anybody is believed, and the options that say so."""
    return [(one.name, options) for one in flow.connections.values() if (options := unchecked(one.url))]


def _summary(flow: Flow) -> str:
    parts = [("stream", flow.streams), ("worker", flow.workers), ("edge", flow.edges)]
    counts = [f"{len(things)} {noun}{'' if len(things) == 1 else 's'}" for noun, things in parts]
    return f"flow {flow.name!r}, {', '.join(counts)}"
