"""An embedded warehouse, answered for by the process that owns it, on a loopback socket."""

from __future__ import annotations

import socket
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from dataflow import frames
from dataflow.errors import DataflowError, OutcomeUnknown, ServerAway
from dataflow.run_file import WarehouseAddress
from dataflow.warehouse.ask import MAX_ANSWER_BYTES, MAX_ASK_BYTES, Ask, Failure
from dataflow.warehouse.interface import ROWS_FORMAT, Parameter, QueryFailed, read_rows

_CONNECT_S: Final = 5.0
_PATIENCE_S: Final = 15.0


@dataclass(frozen=True, slots=True)
class EmbeddedWarehouse:
    """See `dataflow.warehouse.interface.Warehouse`. A connection per question."""

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
