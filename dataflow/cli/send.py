"""`dataflow send`: send messages from a file or stdin to the hub.

The file is looked at twice: first every row is checked, then all are sent. The requests carry keys made of the file's
content and their place in it, so the same command run again stores nothing twice.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import IO, get_args

import click

from dataflow.cli.arguments import json_option
from dataflow.cli.common import flow_option, print_json_line, split_flow
from dataflow.cli.judge import Judge
from dataflow.cli.rows import Form, Row, form_of, rows
from dataflow.cli.sending import CHUNK_BYTES, CHUNK_MESSAGES, Checked, Judged, Post, Sent, check, post_all
from dataflow.cli.spool import digest, opened
from dataflow.connections import resolve
from dataflow.errors import UserError
from dataflow.flow.load import load
from dataflow.flow.spec import Flow


@click.command()
@click.argument("words", nargs=-1, required=True, metavar="[FLOW] FILE")
@flow_option
@click.option("--stream", metavar="NAME", help="Send all to this stream instead of by task_for and function_type.")
@click.option(
    "--set", "settings", multiple=True, metavar="FIELD=VALUE", help="Add a field to every message; may be repeated."
)
@click.option("--format", "form", type=click.Choice(get_args(Form)), help="What FILE holds, if its name does not tell.")
@click.option("--skip-bad", is_flag=True, help="Leave bad rows out instead of sending nothing.")
@click.option("--again", is_flag=True, help="Send all as new messages, though they were sent before.")
@click.option("--hub", "hub_url", metavar="URL", help="The hub, if it is not where the flow says.")
@click.option(
    "--patience",
    "patience_s",
    type=click.FloatRange(0),
    default=300.0,
    show_default=True,
    metavar="SECONDS",
    help="How long a request is tried again while the flow is full or the hub away.",
)
@json_option
def send(
    words: tuple[str, ...],
    flow_path: Path | None,
    stream: str | None,
    settings: tuple[str, ...],
    form: Form | None,
    skip_bad: bool,
    again: bool,
    hub_url: str | None,
    patience_s: float,
    as_json: bool,
) -> None:
    """Send the messages of FILE to the hub: JSON lines, a JSON list, CSV or TSV (with a header); .gz too, - is stdin.

    Every row is checked first: if any does not fit its stream, all bad rows are named with their lines and nothing is
    sent. Values of CSV are read by the schema of their stream; an empty one is null where that is allowed.

    It can be repeated after an interruption: within 24 hours the same content with the same options is stored once.
    """
    path, rest = split_flow(words, flow_path)
    if len(rest) != 1:
        raise click.UsageError("name one file, or - for stdin")
    flow = load(path)
    with ExitStack() as stack:
        file = stack.enter_context(opened(rest[0]))
        content = digest(file)
        form = form or form_of(rest[0].removesuffix(".gz"), file)
        judge = Judge(flow, stream, _constants(settings), typed=form in ("csv", "tsv"))
        source = _Source(file, form, judge)
        checked = check(source.rows())
        _refuse_bad(checked, skip_bad=skip_bad)
        run = f"{content} {time.time_ns()}" if again else content
        identity = _identity(flow, stream, settings, form, run)
        url = hub_url or resolve(flow).hub_url
        begun = time.monotonic()
        sent = post_all(source.rows(), checked.good, identity, _poster(url, patience_s, stream, stack))
    _tell(sent, checked.bad_rows, url, time.monotonic() - begun, as_json=as_json)


class _Source:
    """The rows of a file, completed and judged; may be gone through more than once."""

    def __init__(self, file: IO[bytes], form: Form, judge: Judge) -> None:
        self._file, self._form, self._judge = file, form, judge

    def rows(self) -> Iterator[Judged]:
        """Each row with everything that is wrong with it."""
        self._file.seek(0)
        for row in rows(self._file, self._form):
            if row.message is None:
                yield row, [row.fault]
            else:
                message = self._judge.complete(row.message)
                yield Row(row.line, message), list(self._judge.faults(message))


def _constants(settings: Sequence[str]) -> dict[str, str]:
    found = {}
    for setting in settings:
        name, equals, value = setting.partition("=")
        if not equals or not name:
            raise click.UsageError(f"--set {setting!r}: write FIELD=VALUE")
        found[name] = value
    return found


def _identity(flow: Flow, stream: str | None, settings: Sequence[str], form: Form, run: str) -> str:
    """What makes this run the same as an earlier one: everything that decides what is in which request."""
    schemas = {s.name: repr(s.schema) for s in flow.streams.values() if s.direction == "in"}
    parts = (flow.name, stream, sorted(settings), form, run, schemas, CHUNK_MESSAGES, CHUNK_BYTES)
    return "send-" + hashlib.blake2b(repr(parts).encode(), digest_size=16).hexdigest()


def _poster(url: str, patience_s: float, stream: str | None, stack: ExitStack) -> Post:
    from dataflow.client import Hub

    hub = stack.enter_context(Hub(url, patience_s=patience_s))
    return lambda messages, key: hub.send(messages, stream=stream, idempotency_key=key).repeated > 0


def _refuse_bad(checked: Checked, *, skip_bad: bool) -> None:
    for line, fault in checked.bad:
        click.echo(f"line {line}: {fault}", err=True)
    if checked.bad_rows and not skip_bad:
        total = checked.good + checked.bad_rows
        raise UserError(f"{checked.bad_rows} of {total} rows are bad; nothing was sent (--skip-bad leaves them out)")


def _tell(sent: Sent, bad_rows: int, url: str, seconds: float, *, as_json: bool) -> None:
    if as_json:
        print_json_line(
            {
                "sent": sent.messages, "stored_before": sent.before, "skipped": bad_rows, "requests": sent.requests,
                "seconds": round(seconds, 3),
            }
        )  # fmt: skip
        return
    notes = [f"{sent.before} of them stored by an earlier run"] if sent.before else []
    notes += [f"{bad_rows} bad rows left out"] if bad_rows else []
    more = f" ({', '.join(notes)})" if notes else ""
    click.echo(f"sent {sent.messages} messages in {sent.requests} requests to {url} in {seconds:.1f} s{more}")
