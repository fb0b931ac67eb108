"""The ClickHouse in this process (chDB) as a back end of the sink."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from itertools import islice
from typing import Any

from dataflow.errors import TargetRefused
from dataflow.warehouse import ROWS_FORMAT, Parameter, read_rows
from sync.sinks.clickhouse.backend import Insert, InsertFailed
from sync.sinks.clickhouse.native import block
from sync.sinks.clickhouse.table import MID, TableName, quote
from sync.warehouse.chdb import ChdbWarehouse
from sync.warehouse.errors import EngineError

_MIDS_PER_QUESTION = 5000
_SETTINGS = "async_insert = 0, input_format_native_allow_types_conversion = 0, deduplicate_insert = "
"""To which is added how duplicates are treated; `deduplicate_insert` supersedes the older `insert_deduplicate`."""


class EmbeddedBackend:
    """Talks to a warehouse that somebody else opens and closes; many may share it.

    In one process nothing is lost between sending and answer: no call raises OutcomeUnknown.
    """

    database = "default"

    def __init__(self, warehouse: ChdbWarehouse) -> None:
        self._warehouse = warehouse

    def open(self) -> None:
        """Start the engine if nobody has yet."""
        self._warehouse.open()

    def close(self) -> None:
        """Nothing: the warehouse is not ours."""

    def version(self) -> tuple[int, ...]:
        """The engine's."""
        text = self.rows("SELECT version() AS version", {})[0]["version"]
        return tuple(int(part) for part in text.split(".") if part.isdecimal())

    def rows(self, question: str, parameters: Mapping[str, Parameter]) -> list[dict[str, Any]]:
        """See Backend."""
        return read_rows(self._run(question, parameters, ROWS_FORMAT))

    def execute(self, statement: str) -> None:
        """See Backend."""
        self._run(statement, {}, "Null")

    def fence(self, lineage: str, epoch: int) -> None:
        """See Backend. All runners that can write here live in this process."""
        self._warehouse.turns.fence(lineage, epoch)

    def turn(self, table: TableName, lineage: str, epoch: int, nonce: str) -> AbstractContextManager[None]:
        """See Backend. Blocks while another thread writes to the table."""
        return self._warehouse.turns.turn(str(table), lineage, epoch)

    def insert(self, insert: Insert) -> None:
        """See Backend."""
        columns = ", ".join(quote(name) for name, _ in insert.columns)
        settings = _SETTINGS + _deduplication(insert.token)
        try:
            self._warehouse.insert(f"{insert.table.quoted} ({columns})", settings, block(insert.columns, insert.values))
        except EngineError as error:
            raise InsertFailed(error.code, str(error)) from error

    def present(self, table: TableName, mids: Collection[bytes]) -> set[bytes]:
        """See Backend. Reads the whole `_mid` column."""
        question = (
            f"SELECT DISTINCT hex({quote(MID)}) AS mid FROM {table.quoted} "
            f"WHERE {quote(MID)} IN (SELECT unhex(arrayJoin(splitByChar(',', {{mids:String}}))))"
        )
        found: set[bytes] = set()
        for some in _portions(mids):
            rows = self.rows(question, {"mids": ",".join(mid.hex() for mid in some)})
            found.update(bytes.fromhex(row["mid"]) for row in rows)
        return found

    def _run(self, statement: str, parameters: Mapping[str, Parameter], format: str) -> bytes:
        try:
            return self._warehouse.execute(statement, parameters, format)
        except EngineError as error:
            raise TargetRefused(str(error)) from error


def _portions(mids: Collection[bytes]) -> Iterator[Sequence[bytes]]:
    rest = iter(mids)
    while some := list(islice(rest, _MIDS_PER_QUESTION)):
        yield some


def _deduplication(token: str | None) -> str:
    if token is None:
        return "'disable'"
    quoted = token.replace("\\", "\\\\").replace("'", "\\'")
    return f"'enable', insert_deduplication_token = '{quoted}'"
