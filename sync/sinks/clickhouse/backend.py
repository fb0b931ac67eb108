"""What a ClickHouse must be able to do for the sink. One file per way to reach one: `embedded`, `server`."""

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
    encoders make them. identity: of the block; begins with its lineage. dedup: whether the server is to look for
    duplicates by it.
    """

    table: TableName
    columns: Sequence[tuple[str, str]]
    values: Sequence[Sequence[Any]]
    identity: str
    dedup: bool

    @property
    def token(self) -> str | None:
        """What the server is to know the block by again; None if it is not to look."""
        return self.identity if self.dedup else None


class Backend(Protocol):
    """A ClickHouse. Blocking; used by one thread at a time.

    Every call raises ServerAway where it cannot be reached.
    """

    @property
    def database(self) -> str:
        """Where tables lie whose names say no database."""

    def open(self) -> None:
        """Connect. Raises TargetRefused: the server does not let us in."""

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

    def turn(self, table: TableName, lineage: str, epoch: int, nonce: str) -> AbstractContextManager[None]:
        """While it is held, no INSERT of this lineage into the table is under way but one's own.

        Args:
            nonce: of the runner that has the lease.

        Raises Fenced: another runner has taken over; OutcomeUnknown: an INSERT of a former runner does not end.
        """

    def insert(self, insert: Insert) -> None:
        """Insert one block, whole or not at all (per partition), and wait until it is stored.

        Types that are not the table's are an error and never converted.

        Raises:
            InsertFailed: the server's error.
            OutcomeUnknown: no answer came.
            Fenced: another runner has taken over; nothing was written.
        """

    def present(self, table: TableName, mids: Collection[bytes]) -> set[bytes]:
        """Which of these message ids are in the table's `_mid`. Raises TargetRefused with the server's error."""
