"""Which columns a batch is written to, and what becomes of fields that have none. Frozen with each batch. Pure."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

from dataflow.errors import TargetRefused
from sync.sinks.clickhouse.encoders import can_encode
from sync.sinks.clickhouse.table import EXTRA, MID, Column, Table

Rest = Literal["extra", "refuse", "drop"]
"""Fields without a column: kept together in `_extra`; a reason to refuse the row; left out, as `columns:` says."""


@dataclass(frozen=True, slots=True)
class Planned:
    """A column that is written. `optional`: its DEFAULT stands in where a message lacks the field."""

    name: str
    type: str
    optional: bool = False


@dataclass(frozen=True, slots=True)
class Plan:
    """How rows become columns."""

    columns: tuple[Planned, ...]
    rest: Rest

    @property
    def has_mid(self) -> bool:
        """Whether the rows can be found again."""
        return any(column.name == MID for column in self.columns)

    def to_json(self) -> dict[str, Any]:
        """What is frozen with a batch."""
        return {"columns": [[c.name, c.type, int(c.optional)] for c in self.columns], "rest": self.rest}

    @classmethod
    def from_json(cls, frozen: Mapping[str, Any]) -> Plan:
        """What was frozen. Raises TargetRefused: another version of the program wrote it."""
        try:
            columns = tuple(Planned(name, type_, bool(optional)) for name, type_, optional in frozen["columns"])
            rest = frozen["rest"]
        except (KeyError, TypeError, ValueError):
            rest = None
        if rest not in get_args(Rest):
            raise TargetRefused("the open batch was frozen by another version of dataflow: settle it with that version")
        return cls(columns, rest)

    def fits(self, table: Table) -> bool:
        """Whether the table still has all these columns, of these types."""
        there = {column.name: column.type for column in table.columns if column.writable}
        wanted = [(c.name, c.type) for c in self.columns] + ([(EXTRA, "String")] if self.rest == "extra" else [])
        return all(there.get(name) == type_ for name, type_ in wanted)


def make_plan(table: Table, projection: Sequence[str] | None) -> Plan:
    """Plan for a table as it is now.

    Args:
        projection: the edge's `columns:`; None to write every field.

    Raises:
        TargetRefused: a column has a type that cannot be written, or `columns:` names one that is not there.
    """
    writable = [column for column in table.columns if column.writable]
    if projection is not None:
        return Plan(tuple(_planned(c) for c in _projected(table, writable, projection)), "drop")
    extra = any(column.name == EXTRA and column.type == "String" for column in writable)
    columns = [column for column in writable if not (extra and column.name == EXTRA)]
    _refuse_unknown_types(table, [c for c in columns if not (c.kind == "DEFAULT" or c.parsed.nullable)])
    planned = tuple(_planned(column) for column in columns if can_encode(column.parsed))
    return Plan(planned, "extra" if extra else "refuse")


def _projected(table: Table, writable: Sequence[Column], projection: Sequence[str]) -> list[Column]:
    there = {column.name: column for column in writable}
    missing = [name for name in projection if name not in there]
    if missing:
        raise TargetRefused(
            f"table {table.name} has no column {_list(missing)} that can be written; `columns:` of the edge asks for it"
        )
    wanted = dict.fromkeys([*([MID] if table.has_mid else []), *projection])
    columns = [there[name] for name in wanted]
    _refuse_unknown_types(table, columns)
    return columns


def _refuse_unknown_types(table: Table, columns: Sequence[Column]) -> None:
    unknown = [column for column in columns if not can_encode(column.parsed)]
    if unknown:
        described = ", ".join(f"{column.name} {column.type}" for column in unknown)
        raise TargetRefused(
            f"table {table.name} has columns of types that an edge cannot write: {described}; "
            "give them a DEFAULT, or list the columns to write in `columns:` of the edge"
        )


def _planned(column: Column) -> Planned:
    return Planned(column.name, column.type, column.kind == "DEFAULT")


def _list(names: Collection[str]) -> str:
    return ", ".join(repr(name) for name in names)
