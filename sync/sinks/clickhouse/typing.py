"""Rows become typed columns; rows that do not fit become refusals. Pure; the same rows and plan always give the same.

Works column by column: the encoder of a column is chosen once and given all its texts. Only where that fails are
they looked at one by one, to find the rows that are to blame.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from sync.sink import Refusal, Row
from sync.sinks.clickhouse.encoder import Encoder
from sync.sinks.clickhouse.encoders import encoder
from sync.sinks.clickhouse.plan import Plan, Planned
from sync.sinks.clickhouse.sheet import Shape, Sheet, read_sheet
from sync.sinks.clickhouse.table import EXTRA, MID
from sync.sinks.clickhouse.types import parse

_OURS = b"_"
_NOTHING = b"{}"


@dataclass(frozen=True, slots=True)
class Block:
    """Rows that are inserted together: they name the same columns.

    columns: (name, type). values: per column one value per row. rows: the indexes of the rows in their batch.
    mids: their message ids; empty where the table keeps none.
    """

    columns: tuple[tuple[str, str], ...]
    values: tuple[Sequence[Any], ...]
    rows: Sequence[int]
    mids: Sequence[bytes]

    def without(self, mids: Collection[bytes]) -> Block:
        """The rows whose ids are not among these."""
        keep = [at for at, mid in enumerate(self.mids) if mid not in mids]
        return Block(
            self.columns,
            tuple([column[at] for at in keep] for column in self.values),
            [self.rows[at] for at in keep],
            [self.mids[at] for at in keep],
        )


@dataclass(frozen=True, slots=True)
class Typed:
    """What became of a batch's rows: blocks in a fixed order, and row index -> why it is refused."""

    blocks: tuple[Block, ...]
    refused: dict[int, Refusal]

    @property
    def size(self) -> int:
        """How many rows the blocks hold."""
        return sum(len(block.rows) for block in self.blocks)


def type_rows(rows: Sequence[Row], plan: Plan, leave_out: Collection[int] = frozenset()) -> Typed:
    """Type a batch.

    Args:
        leave_out: indexes of rows that are not looked at: neither in a block nor refused.

    There is one block, unless messages lack fields whose columns have a DEFAULT: then one for each set of such
    columns, so that the server fills them in.
    """
    indexes = [index for index in range(len(rows)) if index not in leave_out] if leave_out else range(len(rows))
    sheet = read_sheet([rows[index] for index in indexes] if leave_out else rows)
    columns = [_type_column(column, sheet) for column in plan.columns]
    if plan.rest == "extra":
        columns.append(_gather_rest(sheet, _names(plan)))
    elif plan.rest == "refuse":
        _refuse_rest(sheet, _names(plan))
    mids = sheet.column(MID.encode()) if plan.has_mid else ()
    blocks = tuple(_blocks(columns, sheet, indexes, mids))
    return Typed(blocks, {indexes[position]: sheet.refused[position] for position in sorted(sheet.refused)})


@dataclass(frozen=True, slots=True)
class _Column:
    name: str
    type: str
    values: Sequence[Any]
    defaulted: Collection[int] = ()


def _type_column(column: Planned, sheet: Sheet) -> _Column:
    name = column.name.encode()
    texts = sheet.column(name)
    type_ = parse(column.type)
    nulls = sheet.null_at(name)
    if None not in texts and not nulls:
        return _Column(column.name, column.type, _encode(column, encoder(type_), texts, range(len(texts)), sheet))  # type: ignore[arg-type]
    present = [position for position, text in enumerate(texts) if text is not None]
    values: list[Any] = [None] * sheet.size
    encoded = _encode(column, encoder(type_), [texts[position] for position in present], present, sheet)  # type: ignore[misc]
    for position, value in zip(present, encoded, strict=True):
        values[position] = value
    defaulted = _absent(column, type_.nullable, texts, nulls, sheet)
    return _Column(column.name, column.type, values, defaulted)


def _encode(
    column: Planned, how: Encoder, texts: Sequence[bytes], positions: Sequence[int], sheet: Sheet
) -> Sequence[Any]:
    try:
        return how.many(texts)
    except (ValueError, KeyError, OverflowError):
        return [
            _encode_one(column, how, text, position, sheet) for text, position in zip(texts, positions, strict=True)
        ]


def _encode_one(column: Planned, how: Encoder, text: bytes, position: int, sheet: Sheet) -> Any:
    try:
        return how.one(text)
    except ValueError as error:
        sheet.refused.setdefault(position, Refusal(column.name, column.type, str(error)))
        return None


def _absent(
    column: Planned, nullable: bool, texts: Sequence[bytes | None], nulls: Collection[int], sheet: Sheet
) -> set[int]:
    """Decide about the rows without a text: null, left to the column's DEFAULT (these are returned), or refused."""
    defaulted: set[int] = set()
    for position, text in enumerate(texts):
        reason = None
        if text is not None:
            reason = "the field is null and has a value too" if position in nulls else None
        elif position in nulls:
            reason = None if nullable else "the field is null, and the column takes no null"
        elif column.name == MID:
            reason = "the message has no id"
        elif column.optional:
            defaulted.add(position)
        elif not nullable:
            reason = "the field is missing, and the column has no DEFAULT"
        if reason:
            sheet.refused.setdefault(position, Refusal(column.name, column.type, reason))
    return defaulted


def _names(plan: Plan) -> frozenset[bytes]:
    return frozenset(column.name.encode() for column in plan.columns)


def _gather_rest(sheet: Sheet, known: frozenset[bytes]) -> _Column:
    """`_extra`: per row a JSON object of the fields that have no column, as text or null."""
    values: list[bytes] = [_NOTHING] * sheet.size
    for shape in sheet.shapes:
        rest = _rest(shape, known)
        if not rest and not sheet.nulls:
            continue
        for at, position in enumerate(shape.positions):
            nulls = [name for name in sheet.nulls.get(position, ()) if name not in known]
            if rest or nulls:
                values[position] = _object(shape, rest, at, sorted(nulls), position, sheet)
    return _Column(EXTRA, "String", values)


def _object(shape: Shape, rest: Sequence[int], at: int, nulls: Sequence[bytes], position: int, sheet: Sheet) -> bytes:
    try:
        fields: dict[str, str | None] = {shape.names[i].decode(): shape.columns[i][at].decode() for i in rest}
        fields.update({name.decode(): None for name in nulls})
        return msgspec.json.encode(fields)
    except UnicodeDecodeError:
        sheet.refused.setdefault(position, Refusal(EXTRA, "String", "a field without a column is not UTF-8"))
        return _NOTHING


def _refuse_rest(sheet: Sheet, known: frozenset[bytes]) -> None:
    for shape in sheet.shapes:
        rest = [shape.names[i] for i in _rest(shape, known)]
        for position in shape.positions if rest else (p for p in shape.positions if p in sheet.nulls):
            unknown = [*rest, *sorted(name for name in sheet.nulls.get(position, ()) if name not in known)]
            if unknown:
                name = unknown[0].decode("utf-8", "backslashreplace")
                refusal = Refusal(name, "", "the table has no column of that name that can be written")
                sheet.refused.setdefault(position, refusal)


def _rest(shape: Shape, known: frozenset[bytes]) -> list[int]:
    """Where in a shape the fields without a column stand; fields of ours are not counted."""
    return [i for i, name in enumerate(shape.names) if name not in known and name[:1] != _OURS]


def _blocks(columns: Sequence[_Column], sheet: Sheet, indexes: Sequence[int], mids: Sequence[Any]) -> Iterator[Block]:
    for left_out, positions in _by_defaults(columns, sheet):
        named = [column for column in columns if column.name not in left_out]
        picked = _pick([*(column.values for column in named), indexes, mids], positions, sheet.size)
        yield Block(tuple((column.name, column.type) for column in named), tuple(picked[:-2]), picked[-2], picked[-1])


def _pick(columns: Sequence[Sequence[Any]], positions: Sequence[int], size: int) -> list[Sequence[Any]]:
    if len(positions) == size:
        return list(columns)
    return [[column[position] for position in positions] if column else () for column in columns]


def _by_defaults(columns: Sequence[_Column], sheet: Sheet) -> list[tuple[tuple[str, ...], Sequence[int]]]:
    """The good rows, by the columns that the server is to fill in."""
    defaulted = [column for column in columns if column.defaulted]
    if not defaulted and not sheet.refused:
        return [((), range(sheet.size))] if sheet.size else []
    groups: defaultdict[tuple[str, ...], list[int]] = defaultdict(list)
    for position in range(sheet.size):
        if position not in sheet.refused:
            groups[tuple(column.name for column in defaulted if position in column.defaulted)].append(position)
    return list(groups.items())
