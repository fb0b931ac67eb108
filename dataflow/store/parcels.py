"""What `finish` hands to one script at a time. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from dataflow.store.outcomes import LANES, Dead, Drop, LaneName, OneEach, Out, Outcome, Outcomes, Park, entries_of
from dataflow.store.packing import pack, packed, packed_columns

MAX_ENTRIES = 500
MAX_OUTPUTS = 1000
MAX_BYTES = 8 * 1024 * 1024
"""Caps of one `finish` script: a script holds up everyone else while it runs."""
_KEPT = (Dead, Park)
"""What the script copies from the stream."""


class Parcel(NamedTuple):
    """As the script takes them: entries with what became of each, and the messages of all.

    width: how many names each message has, where each entry became one and all have the same; then their ids are all
        there is to say of the entries. 0 otherwise.
    """

    fates: bytes
    messages: bytes
    width: int = 0


def parcel(piece: Outcomes) -> Parcel:
    """Pack outcomes of one lane."""
    if isinstance(piece, OneEach):
        messages = packed_columns(piece.target, piece.names, piece.columns)
        return Parcel(pack([entry.id for entry in piece.entries]), messages, len(piece.names))
    listed: list[Any] = []
    for entry, outcome in piece:
        listed.append(entry.id)
        _extend(listed, outcome)
    messages = packed(message for _, outcome in piece if isinstance(outcome, Out) for message in outcome.messages)
    return Parcel(pack(listed), messages)


def by_lane(outcomes: Outcomes) -> list[tuple[LaneName, Outcomes]]:
    """The outcomes of each lane that has any."""
    lanes = {entry.lane for entry in entries_of(outcomes)}
    if len(lanes) == 1:
        return [(lanes.pop(), outcomes)]
    return [(lane, [pair for pair in outcomes if pair[0].lane == lane]) for lane in LANES if lane in lanes]


def pieces(rows: Outcomes) -> Iterator[Outcomes]:
    """Cut so that each piece stays under the caps; an entry that is larger alone goes alone."""
    if rows and len(rows) <= MAX_ENTRIES and _number(rows) <= MAX_OUTPUTS and _size(rows) <= MAX_BYTES:
        yield rows
        return
    piece: list[Any] = []
    outputs = size = 0
    for row in rows:
        more, bytes_ = _number([row]), _size([row])
        if piece and (len(piece) >= MAX_ENTRIES or outputs + more > MAX_OUTPUTS or size + bytes_ > MAX_BYTES):
            yield piece
            piece, outputs, size = [], 0, 0
        piece.append(row)
        outputs += more
        size += bytes_
    if piece:
        yield piece


def _extend(listed: list[Any], outcome: Outcome) -> None:
    """What became of an entry. Numbers that are kept are text: a script would write large ones its own way."""
    if isinstance(outcome, Out):
        listed.append(len(outcome.messages))
    elif isinstance(outcome, Drop):
        listed.append("drop")
    elif isinstance(outcome, Dead):
        listed += ("dead", outcome.reason, outcome.error, str(outcome.attempts))
    else:
        listed += ("park", str(outcome.due_ms), str(outcome.attempts))


def _number(rows: Outcomes) -> int:
    """Messages that these entries became."""
    if isinstance(rows, OneEach):
        return len(rows)
    return sum([len(outcome.messages) for _, outcome in rows if isinstance(outcome, Out)])


def _size(rows: Outcomes) -> int:
    """Bytes that a script writes for these entries, names included."""
    if isinstance(rows, OneEach):
        return len(rows) * sum(map(len, rows.names)) + sum(len(b"".join(column)) for column in rows.columns)
    written = [fields for _, outcome in rows if isinstance(outcome, Out) for _, fields in outcome.messages]
    written += [entry.fields for entry, outcome in rows if isinstance(outcome, _KEPT)]
    return sum(map(len, map(b"".join, written)))
