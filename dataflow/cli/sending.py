"""Sending the rows of a file in requests that are always cut in the same way, so that they can be sent again."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

import click
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from dataflow.cli.common import console
from dataflow.cli.rows import Row
from dataflow.errors import DataflowError, InvalidMessage, UserError

CHUNK_MESSAGES = 500
CHUNK_BYTES = 2 * 1024 * 1024
"""A request holds at most so many messages, and no more once it holds so many bytes. They decide the keys, too."""

BAD_SHOWN = 20
PATIENCE_S = 1.0
"""A progress bar is shown for what takes longer."""

Judged = tuple[Row, list[str]]
"""A row with everything that is wrong with it."""

Chunk = list[tuple[int, dict[str, Any]]]
"""Messages of one request, each with its line."""

Post = Callable[[Sequence[Mapping[str, Any]], str], bool]
"""Send messages under a key. Returns whether they were stored before."""


@dataclass(slots=True)
class Sent:
    """What was sent. `before`: messages of requests that had been stored by an earlier run."""

    messages: int = 0
    requests: int = 0
    before: int = 0


@dataclass(slots=True)
class Checked:
    """What a first look at all rows found. `bad`: the first few bad rows, as line and reason."""

    good: int = 0
    bad_rows: int = 0
    bad: list[tuple[int, str]] = field(default_factory=list)


def check(found: Iterator[Judged]) -> Checked:
    """Look at every row."""
    result = Checked()
    for row, faults in found:
        if not faults:
            result.good += 1
            continue
        result.bad_rows += 1
        result.bad += [(row.line, fault) for fault in faults][: BAD_SHOWN - len(result.bad)]
    return result


def post_all(found: Iterator[Judged], total: int, identity: str, post: Post) -> Sent:
    """Send the good rows, chunk by chunk. What was sent before an error is told with it."""
    sent = Sent()
    with closing(_Bar(total)) as bar:
        for number, chunk in enumerate(chunks(row for row, faults in found if not faults)):
            try:
                before = post([message for _, message in chunk], f"{identity}-{number}")
            except InvalidMessage as error:
                raise _named(error, chunk, sent) from error
            except DataflowError:
                click.echo(_progress(sent), err=True)
                raise
            sent.messages += len(chunk)
            sent.requests += 1
            sent.before += len(chunk) if before else 0
            bar.advance(sent.messages)
    return sent


def chunks(good: Iterator[Row]) -> Iterator[Chunk]:
    """Cut rows into requests, always in the same way."""
    chunk: Chunk = []
    size = 0
    for row in good:
        chunk.append((row.line, row.message or {}))
        size += sum(len(name) + len(str(value)) for name, value in (row.message or {}).items())
        if len(chunk) >= CHUNK_MESSAGES or size >= CHUNK_BYTES:
            yield chunk
            chunk, size = [], 0
    if chunk:
        yield chunk


class _Bar:
    """A progress bar on stderr, for what takes long and only on a terminal."""

    def __init__(self, total: int) -> None:
        self._since = time.monotonic()
        self._progress = Progress(
            TextColumn("sending"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            console=console(stderr=True),
        )
        self._task = self._progress.add_task("", total=total)

    def advance(self, done: int) -> None:
        """Show how far it is."""
        self._progress.update(self._task, completed=done)
        late = time.monotonic() - self._since > PATIENCE_S
        if late and sys.stderr.isatty() and not self._progress.live.is_started:
            self._progress.start()

    def close(self) -> None:
        """Leave it as it is."""
        if self._progress.live.is_started:
            self._progress.stop()


def _named(error: InvalidMessage, chunk: Chunk, sent: Sent) -> UserError:
    """The hub's refusal, with lines instead of places in the request."""
    for fault in islice(error.faults, BAD_SHOWN):
        line = chunk[fault.index][0] if fault.index < len(chunk) else "?"
        click.echo(f"line {line}: {fault.field}: {fault.text}", err=True)
    return UserError(f"the hub refused messages that fit this flow file: does it run another one? {_progress(sent)}")


def _progress(sent: Sent) -> str:
    return f"{sent.messages} messages were stored before; the same command again goes on there and stores none twice"
