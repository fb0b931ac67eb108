"""Asking a flow's warehouse from another process: what `dataflow sql`, `audit` and the console use.

    warehouse = connect(resolve(flow).warehouse["warehouse"])
    warehouse.rows("SELECT count() AS n FROM scores WHERE flow > {least:Float64}", {"least": 3.5})

A ClickHouse server is asked over its native protocol (`dataflow.clickhouse`).

An embedded warehouse is answered for by the process that owns it, on a loopback socket: one frame with an `Ask` in
JSON there, one frame with an answer back (`+` and the result, or `-` and an error in JSON).
"""

from __future__ import annotations

import re
import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import msgspec

from dataflow import frames
from dataflow.errors import DataflowError, OutcomeUnknown, ServerAway, UserError
from dataflow.run_file import WarehouseAddress

__all__ = [
    "MAX_ANSWER_BYTES",
    "MAX_ASK_BYTES",
    "ROWS_FORMAT",
    "Ask",
    "Failure",
    "FailureKind",
    "Parameter",
    "QueryFailed",
    "Warehouse",
    "connect",
    "read_rows",
]

MAX_ASK_BYTES = 1 << 24
MAX_ANSWER_BYTES = 1 << 28
ROWS_FORMAT = "JSONCompactEachRowWithNamesAndTypes"
"""The ClickHouse format that `read_rows` reads."""

_FLOAT = re.compile(r"(?:LowCardinality\()?(?:Nullable\()?B?Float\d+\)*")
_CONNECT_S = 5.0
_PATIENCE_S = 15.0

Value = str | int | float | bool | None
Parameter = Value | Sequence[Value]
"""What can be bound to a `{name:Type}` place of a statement."""

FailureKind = Literal["query", "key", "away"]


class Ask(msgspec.Struct, frozen=True, kw_only=True):
    """One request. `write` allows statements that change the warehouse. `format` is a ClickHouse output format."""

    key: str
    sql: str
    format: str
    params: dict[str, Any] = {}
    write: bool = False
    timeout_s: float = 60.0

    def __repr__(self) -> str:
        return f"Ask(sql={self.sql!r}, format={self.format!r}, write={self.write}, key=***)"


class Failure(msgspec.Struct, frozen=True):
    """Why there is no result: the statement (query), the key, or the server itself (away)."""

    kind: FailureKind
    text: str


class QueryFailed(UserError):
    """The warehouse did not run the statement, or it failed."""


class Warehouse(Protocol):
    """Where a flow's edges store rows. Blocking; threads may share it."""

    def query(
        self,
        sql: str,
        format: str = "CSVWithNames",
        params: Mapping[str, Parameter] | None = None,
        *,
        write: bool = False,
        timeout_s: float = 60.0,
    ) -> bytes:
        """Run one statement and return its result in a ClickHouse output format.

        Args:
            params: values for the `{name:Type}` places of the statement; never part of its text.
            write: allow statements that change the warehouse; without it only those that read are run.

        Raises:
            QueryFailed: the statement is wrong, not allowed, too slow or its result too large.
            ServerAway: nobody answers; nothing was changed.
            OutcomeUnknown: with `write`, the answer did not come.
        """

    def rows(
        self, sql: str, params: Mapping[str, Parameter] | None = None, *, timeout_s: float = 60.0
    ) -> list[dict[str, Any]]:
        """The result of a reading statement, one dict per row: numbers, bools, null, else text. Raises as `query`."""


def connect(address: str | WarehouseAddress) -> Warehouse:
    """The warehouse at an address of `dataflow.connections.resolve`. Contacts nobody yet.

    Raises:
        UserError: the URL is not one of a ClickHouse server. It is not shown: it may hold a secret.
    """
    if isinstance(address, WarehouseAddress):
        return _OverSocket(address)
    from dataflow.clickhouse.address import ServerAddress
    from dataflow.clickhouse.server import ServerWarehouse

    return ServerWarehouse(ServerAddress.read(address))


def read_rows(result: bytes) -> list[dict[str, Any]]:
    """The rows of a result in `ROWS_FORMAT`. Integers of any size stay exact, NaN and infinities are floats."""
    if not result:
        return []
    names, types, *rows = [msgspec.json.decode(line) for line in result.splitlines()]
    floats = [at for at, type_ in enumerate(types) if _FLOAT.fullmatch(type_)]
    for row in rows:
        for at in floats:
            row[at] = row[at] if row[at] is None else float(row[at])
    return [dict(zip(names, row, strict=True)) for row in rows]


@dataclass(frozen=True, slots=True)
class _OverSocket:
    """The embedded warehouse; a connection per question."""

    address: WarehouseAddress

    def query(
        self,
        sql: str,
        format: str = "CSVWithNames",
        params: Mapping[str, Parameter] | None = None,
        *,
        write: bool = False,
        timeout_s: float = 60.0,
    ) -> bytes:
        ask = Ask(
            key=self.address.key, sql=sql, format=format, params=dict(params or {}), write=write, timeout_s=timeout_s
        )
        payload = msgspec.json.encode(ask)
        if len(payload) > MAX_ASK_BYTES:
            raise QueryFailed(f"the statement and its parameters are longer than {MAX_ASK_BYTES >> 20} MiB")
        with self._connection() as connection:
            return _result(self._exchange(connection, payload, ask))

    def rows(
        self, sql: str, params: Mapping[str, Parameter] | None = None, *, timeout_s: float = 60.0
    ) -> list[dict[str, Any]]:
        result = self.query(sql, ROWS_FORMAT, params, timeout_s=timeout_s)
        try:
            return read_rows(result)
        except (ValueError, TypeError) as error:
            raise QueryFailed(f"the result is not in rows; leave FORMAT out of the statement ({error})") from error

    def _connection(self) -> socket.socket:
        try:
            return socket.create_connection((self.address.host, self.address.port), timeout=_CONNECT_S)
        except OSError as error:
            raise ServerAway(
                f"the warehouse at {self._where} does not answer ({error}): is `dataflow up` running?"
            ) from error

    def _exchange(self, connection: socket.socket, payload: bytes, ask: Ask) -> bytes:
        connection.settimeout(ask.timeout_s + _PATIENCE_S)
        try:
            frames.send(connection, payload)
            answer = frames.receive(connection, MAX_ANSWER_BYTES)
        except OSError as error:
            raise self._broken(str(error), ask) from error
        if not answer:
            raise self._broken("it closed the connection", ask)
        return answer

    def _broken(self, reason: str, ask: Ask) -> DataflowError:
        if ask.write:
            return OutcomeUnknown(f"the warehouse at {self._where} broke off ({reason}): the change may have been made")
        return ServerAway(f"the warehouse at {self._where} broke off ({reason}): ask again")

    @property
    def _where(self) -> str:
        return f"{self.address.host}:{self.address.port}"


def _result(answer: bytes) -> bytes:
    if answer[:1] == b"+":
        return answer[1:]
    failure = msgspec.json.decode(answer[1:], type=Failure)
    if failure.kind == "query":
        raise QueryFailed(failure.text)
    raise ServerAway(failure.text)
