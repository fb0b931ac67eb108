"""A ClickHouse server over TCP as a back end of the sink.

A server does not fence: it takes an INSERT from whoever sends it. So nobody sends one without having looked at the
lease, and nobody begins while another's may still be under way:

1. The INSERT carries the batch's identity as its query_id and is told to the server first, without rows.
2. When the server is ready for rows, it has the INSERT in `system.processes`. Only then the lease is looked at.
3. Rows are sent if we still have it, in one block.

Whoever takes an edge over has raised the lease's epoch before. An INSERT of the former runner then either finds that
at step 2, or is in `system.processes` already: the successor waits until it has left. A runner that stands still
between 2 and 3 is given up by the server after `RECEIVE_S`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from typing import Any, Final, TypeVar

from dataflow.clickhouse import render
from dataflow.clickhouse.address import ServerAddress
from dataflow.clickhouse.link import ColumnsDiffer, ExternalTable, Link, Result, ServerError
from dataflow.clickhouse.literals import fill, quoted
from dataflow.errors import OutcomeUnknown, TargetRefused
from dataflow.warehouse import Parameter
from sync.claim import Claim
from sync.sinks.clickhouse.backend import Insert, InsertFailed
from sync.sinks.clickhouse.table import MID, TOKENS_SINCE, TableName, quote

RECEIVE_S: Final = 10
GONE_S: Final = 30.0

_LOOK_EVERY_S: Final = 0.1
_MIDS_PER_QUESTION: Final = 50_000
_ALREADY_RUNNING: Final = 216
_TYPE_MISMATCH: Final = 53
_ASYNC_SINCE: Final = (21, 11)
_QUIET: Final = {"send_logs_level": "none"}

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class _Turn:
    lineage: str
    epoch: int
    nonce: str


class ServerBackend:
    """See `Backend`. Has a connection of its own, made when it is first needed.

    Args:
        address: one server; behind a name that stands for several, an INSERT that is under way might not be seen.
        claim: who has the edge.
        receive_s: how long the server waits for the rows of an INSERT before it gives it up.
        gone_s: how long we wait for another's INSERT to end.
    """

    def __init__(
        self, address: ServerAddress, claim: Claim, *, receive_s: int = RECEIVE_S, gone_s: float = GONE_S
    ) -> None:
        self._claim = claim
        self._receive_s = receive_s
        self._gone_s = gone_s
        self._place = address.place
        self.database = address.database or "default"
        self._link = Link(address.without_database())
        self._quiet: set[str] = set()
        self._turn: _Turn | None = None

    def open(self) -> None:
        """Connect."""
        self._answered(lambda: self._link.version())

    def close(self) -> None:
        """Disconnect."""
        self._quiet.clear()
        self._link.close()

    def version(self) -> tuple[int, ...]:
        """The server's."""
        return self._answered(lambda: self._link.version())

    def rows(self, question: str, parameters: Mapping[str, Parameter]) -> list[dict[str, Any]]:
        """See Backend."""
        return render.rows(self._answered(lambda: self._link.ask(fill(question, parameters), _QUIET)))

    def execute(self, statement: str) -> None:
        """See Backend. Raises OutcomeUnknown too: it may be repeated."""
        self._answered(lambda: self._link.change(statement, _QUIET))

    def fence(self, lineage: str, epoch: int) -> None:
        """See Backend. The server remembers nothing: it is the lease that is looked at."""
        self._quiet.discard(lineage)
        self._claim.check(lineage, epoch)

    @contextmanager
    def turn(self, table: TableName, lineage: str, epoch: int, nonce: str) -> Iterator[None]:
        """See Backend. Blocks while an INSERT of a former runner is under way.

        Raises OutcomeUnknown: one still is after `gone_s`.
        """
        turn = _Turn(lineage, epoch, nonce)
        self._check(turn)
        if lineage not in self._quiet:
            self._wait_until_gone(lineage)
        self._quiet.discard(lineage)
        self._turn = turn
        try:
            yield
        finally:
            self._turn = None
        self._quiet.add(lineage)

    def insert(self, insert: Insert) -> None:
        """See Backend. Only within a turn."""
        turn = self._turn
        if turn is None:
            raise RuntimeError("an INSERT outside of a turn: enter turn() first")
        names = ", ".join(quote(name) for name, _ in insert.columns)
        statement = f"INSERT INTO {insert.table.quoted} ({names}) VALUES"
        settings = insert_settings(insert.token, self._receive_s, self._link.version())
        try:
            self._link.insert(
                statement, insert.columns, insert.values, settings, insert.identity, lambda: self._check(turn)
            )
        except ColumnsDiffer as error:
            raise InsertFailed(_TYPE_MISMATCH, str(error)) from error
        except ServerError as error:
            if error.code == _ALREADY_RUNNING:
                raise OutcomeUnknown(f"the same INSERT is still under way at {self._place}: {error}") from error
            raise InsertFailed(error.code, str(error)) from error

    def present(self, table: TableName, mids: Collection[bytes]) -> set[bytes]:
        """See Backend. Reads the whole `_mid` column."""
        column = quote(MID)
        question = f"SELECT DISTINCT {column} FROM {table.quoted} WHERE {column} IN _dataflow_sought"
        found: set[bytes] = set()
        rest = iter(mids)
        while some := list(islice(rest, _MIDS_PER_QUESTION)):
            sought = ExternalTable("_dataflow_sought", "mid", some)
            found.update(row[0] for row in self._asked(question, sought).rows)
        return found

    def _check(self, turn: _Turn) -> None:
        self._claim.check(turn.lineage, turn.epoch, turn.nonce)

    def _wait_until_gone(self, lineage: str) -> None:
        deadline = time.monotonic() + self._gone_s
        while running := self._running(lineage):
            if time.monotonic() > deadline:
                raise OutcomeUnknown(
                    f"an INSERT of a former runner is still under way at {self._place} ({running}): "
                    "nothing was sent, it is tried again"
                )
            time.sleep(_LOOK_EVERY_S)

    def _running(self, lineage: str) -> str:
        """The query_id of an INSERT of this lineage; empty if there is none."""
        question = f"SELECT query_id FROM system.processes WHERE startsWith(query_id, {quoted(lineage + '-')}) LIMIT 1"
        rows = render.rows(self._asked(question))
        return str(rows[0]["query_id"]) if rows else ""

    def _asked(self, question: str, given: ExternalTable | None = None) -> Result:
        return self._answered(lambda: self._link.ask(question, _QUIET, given=given))

    def _answered(self, call: Callable[[], T]) -> T:
        try:
            return call()
        except ServerError as error:
            raise TargetRefused(f"ClickHouse at {self._place}: {error}") from error


def insert_settings(token: str | None, receive_s: int, version: tuple[int, ...]) -> dict[str, Any]:
    """The settings of an INSERT.

    Servers before 21.11 know no `async_insert`, and before 22.2 no tokens: what the wire cannot carry to them is not
    sent. `deduplicate_insert` supersedes `insert_deduplicate` on the newest ones; others ignore it.
    """
    settings: dict[str, Any] = {
        **_QUIET,
        "receive_timeout": receive_s,
        "replace_running_query": 0,
        "insert_deduplicate": int(token is not None),
    }
    if version >= _ASYNC_SINCE:
        settings["async_insert"] = 0
    if version >= TOKENS_SINCE:
        settings["deduplicate_insert"] = "disable" if token is None else "enable"
        if token is not None:
            settings["insert_deduplication_token"] = token
    return settings
