"""One connection to a ClickHouse server over its native protocol, by clickhouse-driver.

What the driver leaves open and is settled here: whether something may have happened when a connection breaks, one
INSERT as one block, and a last look before the first row is sent.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from clickhouse_driver import Client
from clickhouse_driver.errors import Error as DriverError
from clickhouse_driver.errors import NetworkError, ServerException, SocketTimeoutError

from dataflow.clickhouse.address import ServerAddress
from dataflow.errors import DataflowError, OutcomeUnknown, ServerAway

CONNECT_S: Final = 5.0
ANSWER_S: Final = 60.0
"""How long an answer may take; an address may say otherwise (`send_receive_timeout`)."""

_ONE_BLOCK: Final = 1 << 31
"""The driver cuts an INSERT into blocks of so many rows: never."""
_REFUSES_TO_TALK: Final = frozenset({81, 192, 193, 194, 291, 516})
"""Unknown database, unknown user, wrong password, password needed, no access to the database, not authenticated."""
_NOISE: Final = re.compile(r"DB::Exception: ")
_STACK: Final = re.compile(r"\.?\s*Stack trace:.*", re.DOTALL)
_VERSION: Final = re.compile(r"\s*\(version [\d.]+[^)]*\)")

Broken: Final = (OSError, EOFError, NetworkError, SocketTimeoutError)
"""What the driver raises for a connection that is none or has broken."""


class ServerError(DataflowError):
    """The server answered with an error. A statement that changes something may have changed it before.

    `code` is ClickHouse's number of the error.
    """

    def __init__(self, code: int, text: str) -> None:
        self.code = code
        super().__init__(text)


class ColumnsDiffer(DataflowError):
    """The server wants other columns or types than it was asked to take; nothing was sent."""


@dataclass(frozen=True, slots=True)
class Result:
    """names and types of the columns, and the rows. Texts are bytes."""

    names: Sequence[str]
    types: Sequence[str]
    rows: Sequence[Sequence[Any]]


@dataclass(frozen=True, slots=True)
class ExternalTable:
    """Rows of one column that a question may use as a table of this name; any bytes."""

    name: str
    column: str
    texts: Sequence[bytes]


class Link:
    """Connects when it is first used, and again after a break. Blocking; used by one thread at a time.

    Every call raises ServerAway where nothing was carried out because nobody could be reached.
    """

    def __init__(self, address: ServerAddress) -> None:
        self._address = address
        self._driver: _Driver | None = None

    def version(self) -> tuple[int, ...]:
        """The server's version."""
        info = self._connected().connection.server_info
        return int(info.version_major), int(info.version_minor), int(info.version_patch)

    def ask(
        self,
        question: str,
        settings: Mapping[str, Any] | None = None,
        *,
        given: ExternalTable | None = None,
        timeout_s: float | None = None,
    ) -> Result:
        """The result of a statement that only reads. Raises ServerError."""
        try:
            return self._execute(question, settings, given, timeout_s)
        except Broken as error:
            raise self._away(error) from error

    def change(
        self, statement: str, settings: Mapping[str, Any] | None = None, *, timeout_s: float | None = None
    ) -> Result:
        """Run a statement that may change something. Raises ServerError, OutcomeUnknown."""
        self._connected()
        try:
            return self._execute(statement, settings, None, timeout_s)
        except Broken as error:
            raise OutcomeUnknown(
                f"ClickHouse at {self._address.place} broke off ({_reason(error)}): the change may have been made"
            ) from error

    def insert(
        self,
        statement: str,
        columns: Sequence[tuple[str, str]],
        values: Sequence[Sequence[Any]],
        settings: Mapping[str, Any],
        query_id: str,
        admit: Callable[[], None],
    ) -> None:
        """Send one block and wait until it is stored.

        Args:
            statement: `INSERT INTO ... (...) VALUES`.
            columns: (name, type) of what is sent; the server must want exactly these.
            values: per column, values of its type.
            admit: called when the server is ready and before any row is sent. What it raises, nothing was written.

        Raises:
            ColumnsDiffer: nothing was sent.
            ServerError: the server's error.
            OutcomeUnknown: the connection broke after rows were sent.
        """
        driver = self._connected()
        driver.begin(columns, admit)
        data = [list(column) for column in values]
        try:
            driver.execute(statement, data, columnar=True, query_id=query_id, settings=dict(settings))
        except ServerException as error:
            raise _server_error(error) from error
        except Broken as error:
            if not driver.sending:
                raise self._away(error) from error
            raise OutcomeUnknown(
                f"ClickHouse at {self._address.place} broke off in the middle of an INSERT ({_reason(error)})"
            ) from error
        except DriverError as error:
            if driver.sending:
                raise OutcomeUnknown(
                    f"ClickHouse at {self._address.place} was not understood in the middle of an INSERT ({error})"
                ) from error
            raise self._away(error) from error

    def close(self) -> None:
        """Disconnect. Safe to call twice."""
        driver, self._driver = self._driver, None
        if driver is not None:
            driver.disconnect()

    def _execute(
        self, statement: str, settings: Mapping[str, Any] | None, given: ExternalTable | None, timeout_s: float | None
    ) -> Result:
        driver = self._connected()
        tables = None if given is None else [_external(given)]
        try:
            with driver.patience(timeout_s):
                rows, columns = driver.execute(
                    statement, settings=dict(settings or {}), external_tables=tables, with_column_types=True
                )
        except ServerException as error:
            raise _server_error(error) from error
        except DriverError as error:
            if isinstance(error, Broken):
                raise
            raise ServerError(error.code or 0, f"the answer was not understood: {error}") from error
        return Result([name for name, _ in columns], [type_ for _, type_ in columns], rows)

    def _connected(self) -> _Driver:
        if self._driver is None:
            self._driver = _Driver(self._address)
        driver = self._driver
        if not driver.connection.connected:
            try:
                driver.connection.connect()
            except ServerException as error:
                driver.disconnect()
                raise self._unwelcome(error) from error
            except (*Broken, DriverError) as error:
                driver.disconnect()
                raise self._away(error) from error
        return driver

    def _unwelcome(self, error: ServerException) -> DataflowError:
        text = _plain(error)
        if error.code in _REFUSES_TO_TALK:
            return ServerError(error.code, f"ClickHouse at {self._address.place} does not let us in: {text}")
        return ServerAway(f"ClickHouse at {self._address.place} does not let us in: {text}")

    def _away(self, error: BaseException) -> ServerAway:
        return ServerAway(f"ClickHouse at {self._address.place} does not answer ({_reason(error)})")


class _Driver(Client):  # type: ignore[misc]  # clickhouse-driver has no types
    """The driver's client, which asks once more before it sends rows."""

    def __init__(self, address: ServerAddress) -> None:
        timeouts = {"connect_timeout": CONNECT_S, "send_receive_timeout": ANSWER_S}
        super().__init__(
            address.host,
            port=address.port,
            user=address.user,
            password=address.password,
            database=address.database,
            secure=address.secure,
            client_name="dataflow",
            tcp_keepalive=True,
            settings={"strings_as_bytes": True, "insert_block_size": _ONE_BLOCK},
            **(timeouts | dict(address.options)),
        )
        self.sending = False
        self._columns: Sequence[tuple[str, str]] = ()
        self._admit: Callable[[], None] = lambda: None

    def begin(self, columns: Sequence[tuple[str, str]], admit: Callable[[], None]) -> None:
        """What the next INSERT sends."""
        self._columns, self._admit, self.sending = list(columns), admit, False

    def patience(self, timeout_s: float | None) -> Any:
        """Wait for answers for so long while the context lasts; None for the usual time."""
        usual = self.connection.send_receive_timeout
        return _Patience(self.connection, usual if timeout_s is None else timeout_s)

    def send_data(self, sample_block: Any, data: Any, types_check: bool = False, columnar: bool = False) -> Any:
        """Called by the driver when the server is ready for rows."""
        wanted = [(name, type_) for name, type_ in sample_block.columns_with_types]
        if wanted != self._columns:
            raise ColumnsDiffer(f"the server wants {wanted}, not {self._columns}")
        self._admit()
        self.sending = True
        return super().send_data(sample_block, data, types_check=types_check, columnar=columnar)


class _Patience:
    """Sets the time-out of a connection for a while."""

    def __init__(self, connection: Any, timeout_s: float) -> None:
        self._connection = connection
        self._timeout_s = timeout_s
        self._socket: Any = None

    def __enter__(self) -> None:
        self._socket = self._connection.socket
        self._before_s = self._socket.gettimeout()
        self._socket.settimeout(self._timeout_s)

    def __exit__(self, *_: object) -> None:
        if self._connection.socket is self._socket:
            self._socket.settimeout(self._before_s)


def _external(table: ExternalTable) -> dict[str, Any]:
    rows = [{table.column: text} for text in table.texts]
    return {"name": table.name, "structure": [(table.column, "String")], "data": rows}


def _server_error(error: ServerException) -> ServerError:
    return ServerError(int(error.code or 0), _plain(error))


def _plain(error: ServerException) -> str:
    """What the server says, on one line, without stack and version."""
    text = _NOISE.sub("", str(error.message or ""))
    return " ".join(_VERSION.sub("", _STACK.sub("", text)).split())


def _reason(error: BaseException) -> str:
    return str(error) or type(error).__name__
