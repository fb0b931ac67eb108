"""Messages as scripts take them: one argument for all, the names once for those that have the same, then values only.

Half of what a message is made of are names, and in a batch they are mostly the same. Sending them once spares both
sides: packing on this side, and on the server's handing each of them to Lua again. And as one argument, in MessagePack,
they cost a fifth of what as many arguments of a command cost, on both sides.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import chain
from typing import Any

import msgpack


def pack(parts: Sequence[Any]) -> bytes:
    """A list of bytes, str and int as scripts unpack it (cmsgpack knows text of any bytes, and no other bytes)."""
    data: bytes = msgpack.packb(parts, use_bin_type=False)
    return data


def packed(messages: Iterable[tuple[int, Sequence[bytes]]]) -> bytes:
    """The argument of `read_messages` of lib.lua, out of (target number from 0, fields).

    Raises:
        ValueError: fields that are no pairs of name and value.
        TypeError: a part that is not bytes. Redis would refuse it in the middle of a script, or write it its own way.
    """
    return packed_and_width(messages)[0]


def packed_and_width(messages: Iterable[tuple[int, Sequence[bytes]]]) -> tuple[bytes, int]:
    """The same, and how many names each message has, if all have the same; else 0."""
    pairs = list(messages)
    listed = _listed_if_alike(pairs) or _listed_each(pairs)
    return pack(listed), listed[1] if listed[0] == 1 else 0


def packed_columns(target: int, names: Sequence[bytes], columns: Sequence[Sequence[bytes]]) -> bytes:
    """The same for messages of the same names to one target: for each name the values of all messages."""
    values = _bytes(list(chain.from_iterable(zip(*columns, strict=True))))
    return pack([1, len(names), *_bytes(names), target + 1, 1, len(columns[0]), *values])


def _bytes(parts: Sequence[Any]) -> Sequence[bytes]:
    if not set(map(type, parts)) <= {bytes}:
        wrong = next(part for part in parts if type(part) is not bytes)
        raise TypeError(f"a message holds {wrong!r}, which is not bytes")
    return parts


def _listed_if_alike(messages: Sequence[tuple[int, Sequence[bytes]]]) -> list[Any]:
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
    return [1, len(names), *_bytes(names), targets[0] + 1, 1, len(rows), *_bytes(parts[1::2])]


def _listed_each(messages: Sequence[tuple[int, Sequence[bytes]]]) -> list[Any]:
    shapes: dict[tuple[bytes, ...], int] = {}
    runs: list[Any] = []
    last_target, last_names, count_at = -1, None, 0
    for target, fields in messages:
        names = _bytes(fields)[::2]
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
