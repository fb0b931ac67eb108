"""The command `dataflow ddl`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from dataflow.cli.common import Site, flow_option, known, split_flow
from dataflow.clickhouse.address import ServerAddress
from dataflow.errors import UserError
from dataflow.flow.spec import Edge, Schema
from dataflow.run_file import WarehouseAddress
from dataflow.warehouse import Parameter, Warehouse, connect
from sync.sinks.clickhouse import ddl as statements
from sync.sinks.clickhouse.table import Table, TableName, read_table


@click.command()
@click.argument("words", nargs=-1, required=True, metavar="[FLOW] EDGE")
@flow_option
def ddl(words: tuple[str, ...], flow_path: Path | None) -> None:
    """Print the statements that the table of an EDGE needs: CREATE if it is not there, else ALTER.

    They make columns for the fields of the stream's schema, and let the table recognise a batch that is sent again.
    They fit the version of the server, which is asked. Nothing is changed: pass them to `dataflow sql --write`, or to
    whoever may alter tables.
    """
    path, rest = split_flow(words, flow_path)
    if len(rest) != 1:
        raise click.UsageError("name one edge")
    with Site(path) as site:
        edge = site.flow.edges[known(rest[0], site.flow.edges, "edge")]
        schema = site.flow.streams[edge.source].schema
        if edge.connection is None or edge.table is None:
            raise UserError(f"edge {edge.name!r} is of kind {edge.kind}: it writes to no table")
        address = site.resolved.warehouse[edge.connection]
    click.echo(text(AskedWarehouse(connect(address, in_database=False)), edge, table_at(address, edge.table), schema))


def table_at(address: str | WarehouseAddress, table: str) -> TableName:
    """A table as an edge names it, in its database: its own, or that of the warehouse's address."""
    database = ServerAddress.read(address).database if isinstance(address, str) else ""
    return TableName.read(table, database or "default")


def text(asked: AskedWarehouse, edge: Edge, name: TableName, schema: Schema | None) -> str:
    """The statements, each with a semicolon, and remarks as SQL comments."""
    version = asked.version()
    table = read_table(asked, name)
    wanted = statements.needed(table, name, schema, version, edge.columns)
    remarks = [*_remarks(name, table, schema, edge.columns), *statements.losses(schema, version, edge.columns)]
    return "\n".join([*(f"-- {remark}" for remark in remarks), *(f"{statement};" for statement in wanted)])


class AskedWarehouse:
    """A warehouse as `read_table` asks it."""

    def __init__(self, warehouse: Warehouse) -> None:
        self._warehouse = warehouse

    def version(self) -> tuple[int, ...]:
        """See `Asked`."""
        (row,) = self.rows("SELECT version() AS version", {})
        return tuple(int(part) for part in row["version"].split(".") if part.isdecimal())

    def rows(self, question: str, parameters: Mapping[str, Parameter]) -> list[dict[str, Any]]:
        """See `Asked`."""
        return self._warehouse.rows(question, parameters)


def _remarks(
    name: TableName, table: Table | None, schema: Schema | None, projection: Sequence[str] | None
) -> list[str]:
    if table is None:
        return [f"there is no table {name}"]
    said = [f"table {name} recognises a batch that is sent again by: {table.mode}"]
    if not table.keeps_rows:
        said.append(f"its engine is {table.engine}; tables of the MergeTree family can do better")
    other_types = [one for one in statements.differences(table, schema, projection) if ": missing," not in one]
    return [*said, *(f"left as it is: {difference}" for difference in other_types)]
