"""Messages as scripts take them: the names once for all messages that have the same, then values only.

Half of what a message is made of are names, and in a batch they are mostly the same. Sending them once spares both
sides: packing on this side, and on the server's reading, and handing to Lua, each of them again.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import chain
from typing import Any


def packed(messages: Iterable[tuple[int, Sequence[bytes]]]) -> list[Any]:
    """Arguments for `read_messages` of lib.lua, out of (target number from 0, fields).

    Raises ValueError: fields that are no pairs of name and value.
    """
    pairs = list(messages)
    return _packed_if_alike(pairs) or _packed_each(pairs)


def packed_columns(target: int, names: Sequence[bytes], columns: Sequence[Sequence[bytes]]) -> list[Any]:
    """The same for messages of the same names to one target: for each name the values of all messages."""
    rows = zip(*columns, strict=True)
    return [1, len(names), *names, target + 1, 1, len(columns[0]), *chain.from_iterable(rows)]


def _packed_if_alike(messages: Sequence[tuple[int, Sequence[bytes]]]) -> list[Any]:
    """The same in C, at a fifth of the cost, if the messages are so. Empty if not."""
    if not messages:
        return []
    targets, rows = zip(*messages, strict=True)
    names = rows[0][::2]
    if targets.count(targets[0]) < len(rows) or set(map(len, rows)) != {2 * len(names)} or not names:
        return []
    parts = list(chain.from_iterable(rows))
    if parts[::2] != [*names] * len(rows):
        return []
    return [1, len(names), *names, targets[0] + 1, 1, len(rows), *parts[1::2]]


def _packed_each(messages: Sequence[tuple[int, Sequence[bytes]]]) -> list[Any]:
    shapes: dict[tuple[bytes, ...], int] = {}
    runs: list[Any] = []
    last_target, last_names, count_at = -1, None, 0
    for target, fields in messages:
        names = fields[::2]
        if names != last_names or target != last_target:
            last_target, last_names, count_at = target, names, len(runs) + 2
            runs += (target + 1, shapes.setdefault(tuple(names), len(shapes) + 1), 0)
        values = fields[1::2]
        if len(values) != len(names) or not values:
            raise ValueError(f"{len(fields)} parts are no pairs of name and value")
        runs[count_at] += 1
        runs += values
    head: list[Any] = [len(shapes)]
    for shape in shapes:
        head += (len(shape), *shape)
    return head + runs
