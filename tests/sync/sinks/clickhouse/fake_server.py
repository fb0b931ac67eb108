"""Speaks as much of ClickHouse's native protocol as a back end needs, as a server of a version that is not here.

It keeps what it is sent, byte for byte: the tests look at the packets.
"""

from __future__ import annotations

import socket
import threading
from types import TracebackType
from typing import Self

from tests.sync.sinks.clickhouse.cutter import END_MARK

REVISION = 54455
"""Of the protocol of ClickHouse 22.2; from 54429 on settings travel as texts."""
_HELLO, _DATA, _EXCEPTION, _PONG, _END_OF_STREAM = 0, 1, 2, 4, 5
_PING = b"\x04"
_BLOCK_INFO = b"\x01\x00\x02\xff\xff\xff\xff\x00"


class FakeServer:
    """As a context manager. Questions have no rows; an INSERT is asked for `columns` and taken.

    Args:
        columns: (name, type) of the table.
        version: what it says it is.
        refuse: number and text of the error with which an INSERT is answered, if any.
    """

    def __init__(
        self, columns: list[tuple[str, str]], version: tuple[int, int], refuse: tuple[int, str] | None = None
    ) -> None:
        self._columns, self._version, self._refuse = columns, version, refuse
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.queries: list[bytes] = []
        self.rows = b""

    @property
    def url(self) -> str:
        return f"clickhouse://127.0.0.1:{self._listener.getsockname()[1]}"

    @property
    def insert(self) -> bytes:
        """The packet of the one INSERT."""
        (packet,) = [query for query in self.queries if b"INSERT INTO" in query]
        return packet

    def __enter__(self) -> Self:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with client:
            client.recv(65536)
            major, minor = self._version
            client.sendall(
                bytes([_HELLO]) + text("Fake") + varint(major) + varint(minor) + varint(REVISION)
                + text("UTC") + text("fake") + varint(1)
            )  # fmt: skip
            while packet := _until_end(client):
                if packet == _PING:
                    client.sendall(bytes([_PONG]))
                else:
                    self._answer(client, packet)

    def _answer(self, client: socket.socket, packet: bytes) -> None:
        self.queries.append(packet)
        if b"INSERT INTO" in packet:
            if self._refuse:
                code, said = self._refuse
                client.sendall(
                    bytes([_EXCEPTION]) + code.to_bytes(4, "little") + text("DB::Exception") + text(said) + text("")
                    + b"\0"
                )  # fmt: skip
                return
            client.sendall(self._sample_block())
            while not self.rows.endswith(END_MARK):
                more = client.recv(65536)
                if not more:
                    return
                self.rows += more
        client.sendall(bytes([_END_OF_STREAM]))

    def _sample_block(self) -> bytes:
        described = b"".join(text(name) + text(type_) + b"\0" for name, type_ in self._columns)
        return bytes([_DATA]) + text("") + _BLOCK_INFO + varint(len(self._columns)) + varint(0) + described


def varint(number: int) -> bytes:
    """As the protocol writes whole numbers."""
    found = bytearray()
    while number >= 0x80:
        found.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes(found + bytes([number]))


def text(value: str) -> bytes:
    """As the protocol writes texts."""
    return varint(len(value.encode())) + value.encode()


def setting(name: str, value: str) -> bytes:
    """As the protocol writes a setting that a server may ignore if it does not know it."""
    return text(name) + b"\0" + text(value)


def _until_end(client: socket.socket) -> bytes:
    """A ping, or a query with the mark behind it that no more tables come; empty when the client has gone."""
    packet = b""
    while not (packet == _PING or packet.endswith(END_MARK)):
        try:
            more = client.recv(65536)
        except OSError:
            return b""
        if not more:
            return b""
        packet += more
    return packet
