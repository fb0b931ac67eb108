"""`dataflow dlq`: list, show and replay dead letters."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import Any

import click

from dataflow.cli.arguments import json_option
from dataflow.cli.common import (
    Site,
    flow_option,
    number,
    print_json,
    show,
    split_flow,
    table,
)
from dataflow.errors import UnknownName, UserError
from dataflow.store.deadletters import DeadLetter, DeadLetters

SAMPLE = 1000
"""How many of a reader's dead letters are looked at for the commonest reasons."""
LONGEST_CELL = 100


@click.group()
def dlq() -> None:
    """List, show and replay dead letters: messages that could not go on, each with its reason.

    READER is the name of the worker or edge that could not handle them, or STREAM/NAME for one that the flow no longer
    has. FLOW is the flow file, flow.yml by default.
    """


@dlq.command("ls")
@click.argument("words", nargs=-1, metavar="[FLOW] [READER]")
@flow_option
@click.option("-n", "--limit", type=click.IntRange(1), default=50, show_default=True, help="Most letters to list.")
@json_option
def list_(words: tuple[str, ...], flow_path: Path | None, limit: int, as_json: bool) -> None:
    """List the dead letters of READER, the oldest first; without READER how many each reader has."""
    path, rest = split_flow(words, flow_path)
    if len(rest) > 1:
        raise click.UsageError("name one reader, or none")
    with Site(path) as site:
        if rest:
            _list_letters(of_reader(site, rest[0]), limit, as_json)
        else:
            _list_readers(site, as_json)


@dlq.command("show")
@click.argument("words", nargs=-1, required=True, metavar="[FLOW] READER ID...")
@flow_option
@json_option
def show_(words: tuple[str, ...], flow_path: Path | None, as_json: bool) -> None:
    """Show dead letters whole: reason, error, the message, where it came from."""
    path, (reader, *ids) = split_flow(words, flow_path)
    if not ids:
        raise click.UsageError("name a reader and at least one id; `dataflow dlq ls READER` lists them")
    with Site(path) as site:
        letters = [_find(of_reader(site, reader), reader, id_) for id_ in ids]
    if as_json:
        print_json([_as_dict(letter) for letter in letters])
    else:
        click.echo("\n\n".join(_page(letter) for letter in letters))


@dlq.command()
@click.argument("words", nargs=-1, required=True, metavar="[FLOW] READER [ID...]")
@flow_option
@click.option("--all", "all_", is_flag=True, help="Replay every dead letter of the reader.")
@json_option
def replay(words: tuple[str, ...], flow_path: Path | None, all_: bool, as_json: bool) -> None:
    """Give dead letters back to READER, and to it alone, with their attempts forgotten.

    It may be repeated: what was replayed already is passed over. Mend the cause first, or they will die again.
    """
    path, (reader, *ids) = split_flow(words, flow_path)
    if bool(ids) == all_:
        raise click.UsageError("name the ids to replay, or --all")
    with Site(path) as site:
        _refuse_intake(site, reader)
        letters = of_reader(site, reader)
        moved = letters.replay_all() if all_ else letters.replay(ids)
        left = letters.count()
        site.note("dlq replay", reader, replayed=moved, left=left)
    if as_json:
        print_json({"reader": reader, "replayed": moved, "left": left})
    else:
        click.echo(f"replayed {moved} to {reader}; {left} dead letters left")


def _refuse_intake(site: Site, reader: str) -> None:
    """What is not given back but read again. Raises UserError."""
    edge = site.flow.edges.get(reader.rpartition("/")[2])
    if edge is not None and not edge.source:
        raise UserError(
            f"edge {edge.name!r} reads a collection, not messages that come back: mend the document and give it a new "
            f"value of `{edge.by}`, then it is read again"
        )


def of_reader(site: Site, reader: str) -> DeadLetters:
    """The dead letters of a reader, by its name or as STREAM/NAME. Raises UnknownName."""
    stream, slash, group = reader.rpartition("/")
    if not slash:
        stream = site.anchor_of(reader)
    return DeadLetters(site.client(site.stream(stream).on), site.keys, stream, group)


def _list_readers(site: Site, as_json: bool) -> None:
    found = [
        _reader_row(DeadLetters(site.client(stream.on), site.keys, stream.name, reader), stream.name, reader)
        for stream in site.flow.streams.values()
        for reader in (*site.flow.readers(stream.name), *site.flow.intakes(stream.name))
    ]
    if as_json:
        print_json(found)
        return
    made = table("", ("reader", "of stream"), ("dead letters",), ("oldest", "reasons"))
    for row in found:
        reasons = ", ".join(f"{n} x {reason}" for reason, n in row["reasons"].items())
        made.add_row(row["reader"], row["stream"], number(row["letters"]), row["oldest"], reasons)
    show(made)


def _reader_row(letters: DeadLetters, stream: str, reader: str) -> dict[str, Any]:
    sample = list(islice(letters, SAMPLE))
    reasons = Counter(letter.reason for letter in sample)
    oldest = moment(sample[0].died_ms) if sample else ""
    return {
        "reader": reader, "stream": stream, "letters": letters.count(), "oldest": oldest,
        "reasons": dict(reasons.most_common()),
    }  # fmt: skip


def _list_letters(letters: DeadLetters, limit: int, as_json: bool) -> None:
    found, count = list(islice(letters, limit)), letters.count()
    if as_json:
        print_json([_as_dict(letter) for letter in found])
        return
    made = table("", ("id", "died", "reason"), ("attempts",), ("message", "error"))
    for letter in found:
        made.add_row(
            letter.id, moment(letter.died_ms), letter.reason, str(letter.attempts), letter.mid, _last_line(letter.error)
        )
    show(made)
    if count > len(found):
        click.echo(f"{len(found)} of {count}; -n {count} lists all", err=True)


def _find(letters: DeadLetters, reader: str, id_: str) -> DeadLetter:
    letter = letters.get(id_)
    if letter is None:
        raise UnknownName(f"{reader} has no dead letter {id_!r}; `dataflow dlq ls {reader}` lists them")
    return letter


def _page(letter: DeadLetter) -> str:
    head = [
        f"dead letter {letter.id} of {letter.group} on {letter.stream}",
        f"  died      {moment(letter.died_ms)}",
        f"  reason    {letter.reason}",
        f"  attempts  {letter.attempts}",
        f"  message   {letter.mid}",
        f"  path      {letter.path}",
        f"  origin    {letter.origin}",
    ]
    if not letter.replayable:
        head.append("  replay    not possible: it has more fields than a script can carry")
    fields = [f"  {name}: {value}" for name, value in letter.fields.items()]
    fields += [f"  {name}: null" for name in letter.nulls]
    error = [f"  {line}" for line in letter.error.splitlines()]
    return "\n".join([*head, "fields", *fields, "error", *error])


def _as_dict(letter: DeadLetter) -> dict[str, Any]:
    return {
        "id": letter.id,
        "stream": letter.stream,
        "reader": letter.group,
        "died": moment(letter.died_ms),
        "reason": letter.reason,
        "error": letter.error,
        "attempts": letter.attempts,
        "lane": letter.lane,
        "origin": letter.origin,
        "mid": letter.mid,
        "path": letter.path,
        "fields": {**letter.fields, **dict.fromkeys(letter.nulls)},
        "replayable": letter.replayable,
    }


def _last_line(error: str) -> str:
    """The line of a traceback that says what it was."""
    lines = error.strip().splitlines() or [""]
    return lines[-1] if len(lines[-1]) <= LONGEST_CELL else lines[-1][: LONGEST_CELL - 3] + "..."


def moment(ms: int) -> str:
    """Milliseconds since 1970 as 2026-01-31T12:00:00.123Z."""
    text = datetime.fromtimestamp(ms / 1000, UTC).isoformat(timespec="milliseconds")
    return text.replace("+00:00", "Z")
