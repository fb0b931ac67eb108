"""What a ClickHouse must be able to do for the sink. One file per way to reach one: `embedded`; a server over TCP."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Protocol

from dataflow.errors import DataflowError
from dataflow.warehouse import Parameter
from sync.sinks.clickhouse.table import TableName


class InsertFailed(DataflowError):
    """The server answered an INSERT with an error; it is over, and may have written.

    `code` is ClickHouse's number of the error.
    """

    def __init__(self, code: int, text: str) -> None:
        self.code = code
        super().__init__(text)


@dataclass(frozen=True, slots=True)
class Insert:
    """One INSERT of one block.

    columns: (name, type) of each column as the table has it. values: per column, values of that type as the
    encoders make them. token: the block's identity, None where the server is not to look for duplicates.
    """

    table: TableName
    columns: Sequence[tuple[str, str]]
    values: Sequence[Sequence[Any]]
    token: str | None


class Backend(Protocol):
    """A ClickHouse. Blocking; used by one thread at a time.

    Every call raises ServerAway where it cannot be reached.
    """

    def open(self) -> None:
        """Connect."""

    def close(self) -> None:
        """Let go. Safe to call twice."""

    def version(self) -> tuple[int, ...]:
        """The server's version."""

    def rows(self, question: str, parameters: Mapping[str, Parameter]) -> list[dict[str, Any]]:
        """The result of a statement with `{name:Type}` places. Raises TargetRefused with the server's error."""

    def execute(self, statement: str) -> None:
        """Run a statement that makes or changes a table. Raises TargetRefused with the server's error."""

    def fence(self, lineage: str, epoch: int) -> None:
        """From now on no runner of the lineage with a lower epoch writes. Raises Fenced: this one is lower."""

    def turn(self, table: TableName, lineage: str, epoch: int) -> AbstractContextManager[None]:
        """While it is held, no INSERT of this lineage into the table is under way but one's own.

        Raises Fenced: a runner with a higher epoch has been seen.
        """

    def insert(self, insert: Insert) -> None:
        """Insert one block, whole or not at all (per partition), and wait until it is stored.

        Types that are not the table's are an error and never converted.

        Raises:
            InsertFailed: the server's error.
            OutcomeUnknown: no answer came.
        """

    def present(self, table: TableName, mids: Collection[bytes]) -> set[bytes]:
        """Which of these message ids are in the table's `_mid`. Raises TargetRefused with the server's error."""
