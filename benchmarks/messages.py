"""The message of the benchmark: five small fields. How streams are filled with it, and how what came out is checked."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from benchmarks.measure import CheckFailed
from benchmarks.wire import Wire, pack

SCHEMA = "{rec_id: str, device: str, n: int, value: float, ok: bool}"
FIELDS = ("rec_id", "device", "n", "value", "ok")
REQUEST = "03qcpc7p00q8v5zt3m7y9x2n4p"
"""A request id, as the hub gives it: of the year 2100, so that the messages are younger than any edge. Those that are
older than an edge's first look at its server, or than the last start of it, are looked up in a table first."""
OLDER = "01kajb6e1cq8v5zt3m7y9x2n4p"
"""One of messages that were born before."""
PATH = b"hub@1763686800000"
CHUNK = 1000
WARM = 0.1
"""The part of a run that is not timed: the first messages."""


def message(i: int) -> dict[str, Any]:
    """The i-th message as a dict."""
    return {"rec_id": f"r{i}", "device": f"meter-{i % 50}", "n": i, "value": i / 8, "ok": i % 2 == 0}


def entry(i: int, request: str = REQUEST) -> list[bytes]:
    """The same as a stream entry, as the hub would have written it."""
    return [
        b"_mid", b"%s-%d" % (request.encode(), i), b"_path", PATH, b"rec_id", b"r%d" % i, b"device",
        b"meter-%d" % (i % 50), b"n", b"%d" % i, b"value", repr(i / 8).encode(), b"ok",
        b"true" if i % 2 == 0 else b"false",
    ]  # fmt: skip


def fill(url: str, key: str, n: int, request: str = REQUEST) -> None:
    """Append the first n messages to a stream, as fast as can be."""
    with Wire(url) as wire:
        for first in range(0, n, CHUNK):
            numbers = range(first, min(first + CHUNK, n))
            wire.send(b"".join([pack(("XADD", key, "*", *entry(i, request))) for i in numbers]))
            wire.receive(len(numbers))


def entries(url: str, key: str) -> Iterator[tuple[bytes, list[bytes]]]:
    """All entries of a stream, in order."""
    after = b"-"
    with Wire(url) as wire:
        while found := wire.call("XRANGE", key, after, "+", "COUNT", 10 * CHUNK):
            yield from found
            after = b"(" + found[-1][0]


@dataclass(frozen=True, slots=True)
class Span:
    """How many entries were written in how many seconds, by the server's clock, after the warm-up."""

    messages: int
    seconds: float


def check_stream(url: str, key: str, n: int, *, factor: float = 1.0, by: str = "") -> Span:
    """Every one of the first n messages that `fill` gives is in the stream once, whole, with its id, its value times
    `factor`, its path one hop longer if it was moved `by` a node; and how long it took.

    Raises CheckFailed.
    """
    return _check(list(entries(url, key)), n, factor, by)


def check_first(url: str, key: str, n: int, *, factor: float = 1.0, by: str = "") -> Span:
    """As `check_stream`, for a stream that may hold more than the first n messages: those come first, in order."""
    with Wire(url) as wire:
        return _check(wire.call("XRANGE", key, "-", "+", "COUNT", n), n, factor, by)


def _check(found: list[tuple[bytes, list[bytes]]], n: int, factor: float, by: str) -> Span:
    rows = [dict(zip(fields[::2], fields[1::2], strict=True)) for _, fields in found]
    check_rows(((row.get(b"_mid", b"").decode(), read_row(row)) for row in rows), n, factor=factor)
    path = re.compile(re.escape(PATH) + (rb">%s@\d{13}" % by.encode() if by else b""))
    for row in rows:
        if row[b"_mid"] != b"%s-%s" % (REQUEST.encode(), row[b"n"]):
            raise CheckFailed(f"a message has the id of another: {row}")
        if not path.fullmatch(row.get(b"_path", b"")):
            raise CheckFailed(f"a message came another way: {row}")
    return span([id_ for id_, _ in found])


def check_rows(rows: Iterable[tuple[str, dict[str, Any]]], n: int, *, factor: float = 1.0) -> None:
    """The same for (mid, message) pairs that came from anywhere."""
    mids: set[str] = set()
    numbers: set[int] = set()
    count = 0
    for mid, row in rows:
        count += 1
        mids.add(mid)
        i = row["n"]
        numbers.add(i)
        wanted = message(i)
        wanted["value"] *= factor
        if row != wanted or not 0 <= i < n:
            raise CheckFailed(f"{row} where {wanted} was expected")
    if not count == len(mids) == len(numbers) == n:
        raise CheckFailed(f"{count} came out, {len(numbers)} different messages with {len(mids)} ids; {n} went in")


def span(ids: list[bytes]) -> Span:
    """Time from the end of the warm-up to the last entry, by the ids."""
    times = [int(id_.partition(b"-")[0]) for id_ in ids]
    begin = times[int(len(times) * WARM)]
    later = sum(at > begin for at in times)
    if not later:  # all in one script: too few to time
        return Span(len(times), max(times[-1] - times[0], 1) / 1000)
    return Span(later, (times[-1] - begin) / 1000)


def read_row(row: dict[bytes, bytes]) -> dict[str, Any]:
    """The message in an entry. Raises CheckFailed."""
    try:
        return {
            "rec_id": row[b"rec_id"].decode(), "device": row[b"device"].decode(), "n": int(row[b"n"]),
            "value": float(row[b"value"]), "ok": {b"true": True, b"false": False}[row[b"ok"]],
        }  # fmt: skip
    except (KeyError, ValueError) as error:
        raise CheckFailed(f"a message came out damaged: {row}") from error
