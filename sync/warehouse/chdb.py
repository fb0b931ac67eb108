"""The one owner of a chDB data folder in the one process that may hold it.

chDB is imported when it is opened, never before: a process that has imported it must not fork and use it in the
child. Every statement has a connection of its own (a fifth of a millisecond), so that nothing (`USE`, settings, the
rest of a failed statement's output) is carried from one to the next, and threads need no lock.

What the engine does badly and is avoided here (chDB 4.4): its streaming insert reports success for rows that a
constraint, a partition limit or a view has refused, and data inside a statement are cut at `max_query_size`.
`INSERT ... FROM INFILE` on an anonymous file in memory reports every error, in one block.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from threading import Condition
from typing import Any
from urllib.parse import urlencode

from dataflow.errors import DataflowError, ServerAway, UserError
from dataflow.warehouse import Parameter
from sync.warehouse.errors import EngineError
from sync.warehouse.parameters import bind
from sync.warehouse.turns import Turns

_EXACT_OUTPUT = {
    "output_format_json_quote_64bit_integers": "0",
    "output_format_json_quote_denormals": "1",
    "output_format_json_quote_decimals": "1",
    "output_format_pretty_color": "0",
    "output_format_pretty_row_numbers": "0",
    "output_format_pretty_max_rows": "100000",
}
_TOO_LARGE = frozenset({158, 241, 396})
"""TOO_MANY_ROWS, MEMORY_LIMIT_EXCEEDED, TOO_MANY_ROWS_OR_BYTES."""
_TIMEOUT = 159
_READS_ONLY = "only statements that read are run here; `dataflow sql --write` runs others too"
_READONLY = 164


@dataclass(frozen=True, slots=True)
class Limits:
    """How much a question may cost: seconds, bytes of its result, bytes of memory while it is worked out."""

    timeout_s: float = 60.0
    result_bytes: int = 64 << 20
    memory_bytes: int = 2 << 30


class ChdbWarehouse:
    """A ClickHouse in this process. Thread-safe; one per process and folder.

    Args:
        path: the data folder; made when it is not there.
    """

    def __init__(self, path: Path) -> None:
        self.path = path.resolve()
        self.turns = Turns()
        self._anchor: Any = None
        self._pid = 0
        self._idle = Condition()
        self._running = 0

    def open(self) -> None:
        """Start the engine; blocks up to some seconds. Safe to call twice.

        Raises:
            ServerAway: chDB is not installed or too old, or another process holds the folder.
        """
        with self._idle:
            if self._anchor is None:
                self._anchor, self._pid = _start(self.path), os.getpid()

    def close(self, grace_s: float = 10.0) -> None:
        """Take no more statements, wait for those that run (questions are killed after `grace_s`), stop the engine.

        Safe to call twice. The warehouse can be opened again.
        """
        with self._idle:
            anchor, self._anchor = self._anchor, None
            if anchor is None:
                return
            if not self._idle.wait_for(self._is_idle, grace_s):
                anchor.query("KILL QUERY WHERE query_kind != 'Insert' AND query_kind != 'KillQuery' ASYNC")
                self._idle.wait_for(self._is_idle)
            anchor.close()

    def __enter__(self) -> ChdbWarehouse:
        self.open()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def execute(self, statement: str, parameters: Mapping[str, Parameter] | None = None, format: str = "Null") -> bytes:
        """Run one statement of any kind and return its result in a ClickHouse format.

        Raises:
            EngineError: the engine refused or failed; a statement that writes may have written.
            ServerAway: the warehouse is closed.
        """
        with self._connection({}) as connection:
            return _run(connection, statement, format, parameters or {})

    def ask(
        self,
        question: str,
        parameters: Mapping[str, Parameter] | None = None,
        format: str = "CSVWithNames",
        limits: Limits | None = None,
    ) -> bytes:
        """Run one statement that only reads, within limits; the engine itself refuses anything else.

        Raises:
            UserError: it is not one reading statement, or its result is too large or takes too long.
            EngineError: the engine refused or failed.
            ServerAway: the warehouse is closed.
        """
        limits = limits or Limits()
        with self._connection(_reading(limits)) as connection:
            _check_reads(connection, question)
            try:
                result = _run(connection, question, format, parameters or {})
            except EngineError as error:
                raise _explained(error, limits) from error
        if len(result) > limits.result_bytes:
            raise _too_large(limits)
        return result

    def insert(self, into: str, settings: str, block: bytes) -> None:
        """Insert one block of rows in ClickHouse's Native format.

        Args:
            into: quoted table and columns: "`default`.`t` (`a`, `b`)".
            settings: "name = value, ..." for this INSERT.

        Raises:
            EngineError: it failed; rows may have been written.
            ServerAway: the warehouse is closed; nothing was written.
        """
        with self._connection({}) as connection, _in_memory(block) as path:
            _run(
                connection,
                f"INSERT INTO {into} FROM INFILE '{path}' COMPRESSION 'none' SETTINGS {settings} FORMAT Native",
                "Null",
                {},
            )

    @contextmanager
    def _connection(self, settings: Mapping[str, str]) -> Iterator[Any]:
        self._begin()
        try:
            connection = _chdb().connect(f"{self.path}?{urlencode({**_EXACT_OUTPUT, **settings})}")
            try:
                yield connection
            finally:
                connection.close()
        finally:
            self._end()

    def _begin(self) -> None:
        with self._idle:
            if self._anchor is None:
                raise ServerAway(f"the warehouse in {self.path} is closed")
            if self._pid != os.getpid():
                raise DataflowError("chDB does not work in a forked process; open the warehouse after the fork")
            self._running += 1

    def _end(self) -> None:
        with self._idle:
            self._running -= 1
            self._idle.notify_all()

    def _is_idle(self) -> bool:
        return self._running == 0


def _chdb() -> Any:
    return import_module("chdb")


def _start(path: Path) -> Any:
    if "?" in str(path):
        raise ServerAway(f"the warehouse folder {path} has a '?' in its name; chDB cannot open it: move the project")
    try:
        chdb = _chdb()
    except ImportError as error:
        raise ServerAway(
            f"the embedded ClickHouse needs chDB ({error}): pip install 'dataflow-streams[embedded]', "
            "or set DATAFLOW_CLICKHOUSE_URL to a server"
        ) from error
    path.mkdir(parents=True, exist_ok=True)
    try:
        anchor = chdb.connect(str(path))
    except RuntimeError as error:
        raise ServerAway(
            f"the warehouse in {path} cannot be opened; does another process have it open? ({error})"
        ) from error
    if not hasattr(anchor._conn, "classify_query"):
        anchor.close()
        raise ServerAway(f"chDB {chdb.__version__} is too old: pip install -U 'chdb>=4.4'")
    return anchor


def _run(connection: Any, statement: str, format: str, parameters: Mapping[str, Parameter]) -> bytes:
    try:
        result = connection.query(statement, format, params=bind(parameters))
    except RuntimeError as error:
        raise EngineError.read(str(error)) from None
    return b"" if result is None else bytes(result.bytes())


def _reading(limits: Limits) -> dict[str, str]:
    return {
        "max_execution_time": str(limits.timeout_s),
        "timeout_overflow_mode": "throw",
        "max_result_bytes": str(limits.result_bytes),
        "result_overflow_mode": "throw",
        "max_memory_usage": str(limits.memory_bytes),
        "readonly": "1",
    }


def _check_reads(connection: Any, question: str) -> None:
    """`readonly` alone lets INTO OUTFILE and KILL QUERY pass; several statements mix their results up."""
    report = connection._conn.classify_query(question)
    if report["statement_count"] > 1:
        raise UserError("one statement at a time")
    if report["statement_count"] == 1 and report["query_class"].name != "READ_ONLY":
        raise UserError(_READS_ONLY)
    if not question.strip():
        raise UserError("there is no statement")


def _explained(error: EngineError, limits: Limits) -> DataflowError:
    if error.code == _TIMEOUT:
        return UserError(f"no answer within {limits.timeout_s:g} s: ask for less, or allow more time")
    if error.code == _READONLY:
        return UserError(f"{_READS_ONLY} ({error})")
    return _too_large(limits) if error.code in _TOO_LARGE else error


def _too_large(limits: Limits) -> UserError:
    return UserError(
        f"the result is larger than {limits.result_bytes >> 20} MiB, or needs more than "
        f"{limits.memory_bytes >> 20} MiB of memory: add LIMIT, or aggregate"
    )


@contextmanager
def _in_memory(data: bytes) -> Iterator[str]:
    """A file that lives in memory only, by a path that this process can open."""
    descriptor = os.memfd_create("block", os.MFD_CLOEXEC)
    try:
        rest = memoryview(data)
        while rest:
            rest = rest[os.write(descriptor, rest) :]
        yield f"/proc/self/fd/{descriptor}"
    finally:
        os.close(descriptor)
