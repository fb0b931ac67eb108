"""Messages as scripts take them: the names once for all messages that have the same, then values only.

Half of what a message is made of are names, and in a batch they are mostly the same. Sending them once spares both
sides: packing on this side, and on the server's reading, and handing to Lua, each of them again.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any


def packed(messages: Iterable[tuple[int, Sequence[bytes]]]) -> list[Any]:
    """Arguments for `read_messages` of lib.lua, out of (target number from 0, complete fields).

    Raises ValueError: fields that are no pairs of name and value.
    """
    shapes: dict[tuple[bytes, ...], int] = {}
    runs: list[Any] = []
    current, count_at = (-1, -1), 0
    for target, fields in messages:
        names = tuple(fields[::2])
        if 2 * len(names) != len(fields) or not names:
            raise ValueError(f"{len(fields)} parts are no pairs of name and value")
        run = (target + 1, shapes.setdefault(names, len(shapes) + 1))
        if run != current:
            current, count_at = run, len(runs) + 2
            runs += (*run, 0)
        runs[count_at] += 1
        runs += fields[1::2]
    head: list[Any] = [len(shapes)]
    for names in shapes:
        head += (len(names), *names)
    return head + runs
