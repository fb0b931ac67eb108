"""`dataflow tail`: print the messages of a stream as they come."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import click

from dataflow.cli.common import Site, flow_option, print_json_line, split_flow
from dataflow.errors import InvalidMessage, OutcomeUnknown, ServerAway
from dataflow.message import Codec
from dataflow.store.redis import Client, call

PAGE = 500
WAIT_MS = 1000
"""How long one look waits for something new; far below the client's time-out."""

Row = tuple[bytes, list[bytes]]


@click.command()
@click.argument("words", nargs=-1, required=True, metavar="[FLOW] STREAM")
@flow_option
@click.option("--from-start", is_flag=True, help="Begin with everything that is there.")
@click.option("-n", "--last", type=click.IntRange(0), default=0, help="Begin with the last N messages that are there.")
@click.option("--count", type=click.IntRange(1), help="End after so many messages.")
@click.option("--no-follow", is_flag=True, help="End with what is there; do not wait for more.")
@click.option("--meta", is_flag=True, help="Print our own fields (_mid, _path, ...) too.")
def tail(
    words: tuple[str, ...],
    flow_path: Path | None,
    from_start: bool,
    last: int,
    count: int | None,
    no_follow: bool,
    meta: bool,
) -> None:
    """Print the messages of STREAM as they come, one JSON object per line, until Ctrl-C.

    Nothing is consumed: readers of the stream get every message as before. A message that its readers finish between
    two looks may not be shown. Fields are typed by the stream's schema, if it declares one; `_id` is the entry's id.
    """
    path, rest = split_flow(words, flow_path)
    if len(rest) != 1:
        raise click.UsageError("name one stream")
    with Site(path) as site:
        stream = site.stream(rest[0])
        look = Look(site.client(stream.on), site.keys.stream(stream.name).stream)
        codec = Codec(stream.schema)
        rows = look.rows(from_start=from_start, last=last, follow=not no_follow)
        for printed, (id_, fields) in enumerate(rows, 1):
            print_json_line(shown(id_, fields, codec, meta=meta))
            if printed == count:
                return


class Look:
    """Reads a stream as it grows, without a group."""

    def __init__(self, client: Client, stream: str) -> None:
        self._client = client
        self._stream = stream

    def rows(self, *, from_start: bool, last: int, follow: bool) -> Iterator[Row]:
        """Entries in order: what is there already (all or the last few), then what comes. Blocks while following."""
        position = b"0-0"
        if not from_start:
            found = self._last(last + 1)
            position = found[-1][0] if found else position
            shown = found[-last:] if last else []
            yield from shown
        while True:
            page = self._page(position)
            if not page and not follow:
                return
            page = page or self._wait(position)
            yield from page
            position = page[-1][0] if page else position

    def _last(self, count: int) -> list[Row]:
        rows = call(self._client, "XREVRANGE", self._stream, "+", "-", "COUNT", count)
        return [(id_, fields) for id_, fields in reversed(rows)]

    def _page(self, position: bytes) -> list[Row]:
        return [tuple(row) for row in call(self._client, "XRANGE", self._stream, b"(" + position, "+", "COUNT", PAGE)]

    def _wait(self, position: bytes) -> list[Row]:
        try:
            reply = call(
                self._client, "XREAD", "COUNT", PAGE, "BLOCK", WAIT_MS, "STREAMS", self._stream, position
            )  # fmt: skip
        except OutcomeUnknown as error:  # reading has no outcome
            raise ServerAway(str(error)) from error
        return [tuple(row) for row in reply[0][1]] if reply else []


def shown(id_: bytes, fields: Sequence[bytes], codec: Codec, *, meta: bool) -> dict[str, Any]:
    """An entry as it is printed. One that does not fit the schema is printed as texts, with the reason."""
    ours: dict[str, Any] = {"_id": id_.decode()}
    texts = [part.decode(errors="backslashreplace") for part in fields]
    own = {name: text for name, text in zip(texts[::2], texts[1::2], strict=True) if name.startswith("_")}
    if meta:
        ours |= own
    elif "_mid" in own:
        ours["_mid"] = own["_mid"]
    try:
        message = codec.decode(fields).message
    except InvalidMessage as error:
        plain = {name: text for name, text in zip(texts[::2], texts[1::2], strict=True) if name not in own}
        return {**ours, **plain, "_error": str(error)}
    return {**ours, **{name: _json(value) for name, value in message.items()}}


def _json(value: Any) -> Any:
    """JSON has no numbers for NaN and the infinities: they are printed as texts."""
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value
