"""Rows turned into columns. Pure.

Most batches hold messages of one shape (the same names in the same order); they are turned at once. Others are
turned shape by shape.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

import msgspec

from sync.sink import Refusal, Row

_NULL = b"_null"
_NAMES = msgspec.json.Decoder(list[str])


@dataclass(frozen=True, slots=True)
class Shape:
    """The rows with the same names in the same order: where they stand in the sheet, and a column per name."""

    names: tuple[bytes, ...]
    positions: Sequence[int]
    columns: Sequence[Sequence[bytes]]


@dataclass(frozen=True, slots=True)
class Sheet:
    """A batch's rows by column.

    nulls: position -> the names that are null there. refused: position -> why this row cannot be read.
    """

    size: int
    shapes: Sequence[Shape]
    nulls: dict[int, Collection[bytes]] = field(default_factory=dict)
    refused: dict[int, Refusal] = field(default_factory=dict)

    def column(self, name: bytes) -> Sequence[bytes | None]:
        """The texts of a field, None where a row has none: null, or absent. Not to be changed."""
        if len(self.shapes) == 1 and len(self.shapes[0].positions) == self.size:
            shape = self.shapes[0]
            return shape.columns[shape.names.index(name)] if name in shape.names else [None] * self.size
        texts: list[bytes | None] = [None] * self.size
        for shape in self.shapes:
            if name in shape.names:
                for position, text in zip(shape.positions, shape.columns[shape.names.index(name)], strict=True):
                    texts[position] = text
        return texts

    def null_at(self, name: bytes) -> set[int]:
        """Where a field is null."""
        return {position for position, names in self.nulls.items() if name in names}


def read_sheet(rows: Sequence[Row]) -> Sheet:
    """Turn rows into columns."""
    sheet = Sheet(len(rows), _shapes(rows))
    for shape in sheet.shapes:
        if len(set(shape.names)) < len(shape.names):
            reason = Refusal(_twice(shape.names), "", "the name stands twice in one message")
            sheet.refused.update(dict.fromkeys(shape.positions, reason))
        elif _NULL in shape.names:
            _read_nulls(sheet, shape)
    return sheet


def _shapes(rows: Sequence[Row]) -> list[Shape]:
    if not rows:
        return []
    return _one_shape(rows) or _many_shapes(rows)


def _one_shape(rows: Sequence[Row]) -> list[Shape] | None:
    if len(set(map(len, rows))) > 1:
        return None
    turned = list(zip(*rows, strict=True))
    if any(column.count(column[0]) < len(rows) for column in turned[::2]):
        return None
    return [Shape(tuple(column[0] for column in turned[::2]), range(len(rows)), turned[1::2])]


def _many_shapes(rows: Sequence[Row]) -> list[Shape]:
    positions: defaultdict[tuple[bytes, ...], list[int]] = defaultdict(list)
    for position, row in enumerate(rows):
        positions[tuple(row[::2])].append(position)
    return [
        Shape(names, where, list(zip(*(rows[position][1::2] for position in where), strict=True)))
        for names, where in positions.items()
    ]


def _read_nulls(sheet: Sheet, shape: Shape) -> None:
    known: dict[bytes, Collection[bytes] | None] = {}
    for position, text in zip(shape.positions, shape.columns[shape.names.index(_NULL)], strict=True):
        if text not in known:
            known[text] = _names(text)
        names = known[text]
        if names is None:
            sheet.refused[position] = Refusal("_null", "", "the field holds no JSON array of names")
        else:
            sheet.nulls[position] = names


def _names(text: bytes) -> Collection[bytes] | None:
    try:
        return frozenset(name.encode() for name in _NAMES.decode(text))
    except (ValueError, RecursionError):
        return None


def _twice(names: Sequence[bytes]) -> str:
    return next(name for name in names if names.count(name) > 1).decode("utf-8", "backslashreplace")
