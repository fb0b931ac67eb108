"""One block in ClickHouse's Native format, written by clickhouse-driver: the same encoding as over TCP. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from clickhouse_driver.block import ColumnOrientedBlock
from clickhouse_driver.bufferedwriter import BufferedSocketWriter
from clickhouse_driver.context import Context
from clickhouse_driver.streams.native import BlockOutputStream

_BUFFER_BYTES = 1 << 20


def block(columns: Sequence[tuple[str, str]], values: Sequence[Sequence[Any]]) -> bytes:
    """Encode columns of equal length. `values` stay as they are."""
    sink = _Collector()
    stream = BlockOutputStream(BufferedSocketWriter(sink, _BUFFER_BYTES), _context())
    stream.write(ColumnOrientedBlock(list(columns), [list(column) for column in values]))
    return b"".join(sink.parts)


class _Collector:
    """Stands where the driver has its socket."""

    def __init__(self) -> None:
        self.parts: list[bytes] = []

    def sendall(self, data: bytes) -> None:
        self.parts.append(bytes(data))


class _NoServer:
    """The driver asks its server for a zone and a protocol revision; files have neither."""

    used_revision = 0

    def get_timezone(self) -> str:
        return "UTC"


def _context() -> Context:
    context = Context()
    context.server_info = _NoServer()
    context.settings = {}
    context.client_settings = {"strings_as_bytes": True, "use_numpy": False}
    return context
