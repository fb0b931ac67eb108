"""A TCP proxy in front of a server that breaks connections on demand, at a chosen request."""

from __future__ import annotations

import select
import selectors
import socket
import threading
import time
from dataclasses import dataclass
from types import TracebackType
from typing import Literal, Self

Fault = Literal["cut-before", "cut-inside", "cut-after", "swallow", "stall", "slow"]
"""What happens to the request that is waited for:

cut-before  the server never sees it; the connection breaks
cut-inside  the server gets the first half; the connection breaks
cut-after   the server gets all of it, and at once the connection breaks on both sides
swallow     the server answers, and the answer is lost with the connection
stall       the server gets it, and the answer is held back until `release`; then the connection breaks
slow        request and answer pass a few bytes at a time
"""

FAULTS: tuple[Fault, ...] = ("cut-before", "cut-inside", "cut-after", "swallow", "stall", "slow")

_SLOW_BYTES = 2048
_SLOW_S = 0.01
_CONNECT_S = 5.0
_QUIET_S = 0.3
"""When a client has sent nothing for so long, it waits for an answer."""


@dataclass(frozen=True, slots=True)
class _Aim:
    fault: Fault
    within: bytes
    follow_up: bool


class Proxy:
    """Carries everything between clients and one server, as a context manager. Threads of its own do the work.

    `arm` chooses a fault and what the request holds that it happens to. It happens once; everything else passes.

    Args:
        host, port: the server; it may be away, and come back.
    """

    def __init__(self, host: str, port: int) -> None:
        self._server = (host, port)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._lock = threading.Lock()
        self._armed: _Aim | None = None
        self._released = threading.Event()
        self._struck = threading.Event()

    @property
    def port(self) -> int:
        """Where it listens on 127.0.0.1."""
        port: int = self._listener.getsockname()[1]
        return port

    @property
    def struck(self) -> bool:
        """Whether the fault that was armed last has happened."""
        return self._struck.is_set()

    def arm(self, fault: Fault, within: bytes, *, follow_up: bool = False) -> None:
        """Let a fault happen to the next request that holds these bytes. One that was armed before is forgotten.

        Args:
            follow_up: not to that request, but to all that its client sends when the server has answered it, such as
                the rows of an INSERT.
        """
        with self._lock:
            self._struck.clear()
            self._released.clear()
            self._armed = _Aim(fault, within, follow_up)

    def release(self) -> None:
        """End a stall."""
        self._released.set()

    def __enter__(self) -> Self:
        threading.Thread(target=self._accept, daemon=True, name="proxy").start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._carry, args=(client,), daemon=True, name="proxied").start()

    def _carry(self, client: socket.socket) -> None:
        with client:
            try:
                with socket.create_connection(self._server, _CONNECT_S) as server:
                    server.settimeout(None)
                    self._pass_on(client, server)
            except OSError:  # one side is gone: so is the connection
                return

    def _pass_on(self, client: socket.socket, server: socket.socket) -> None:
        with selectors.DefaultSelector() as ready:
            ready.register(client, selectors.EVENT_READ, server)
            ready.register(server, selectors.EVENT_READ, client)
            aim: _Aim | None = None
            answered = False
            while True:
                for key, _ in ready.select():
                    from_client = key.fileobj is client
                    data = (client if from_client else server).recv(1 << 16)
                    if not data:
                        return
                    if from_client and aim is None:
                        aim, answered = self._take(data), False
                    elif not from_client:
                        answered = True
                    if not from_client or aim is None or (aim.follow_up and not answered):
                        key.data.sendall(data)
                        continue
                    whole = data + _rest(client) if aim.follow_up else data
                    if not self._do(aim.fault, client, server, whole):
                        return
                    aim = None

    def _take(self, data: bytes) -> _Aim | None:
        with self._lock:
            if self._armed is None or self._armed.within not in data:
                return None
            aim, self._armed = self._armed, None
            return aim

    def _do(self, fault: Fault, client: socket.socket, server: socket.socket, data: bytes) -> bool:
        """Let it happen. Whether the connection lives on."""
        if fault == "slow":
            _trickle(server, data)
            _trickle(client, server.recv(1 << 16))
        elif fault != "cut-before":
            server.sendall(data[: len(data) // 2] if fault == "cut-inside" else data)
        if fault in ("swallow", "stall"):
            server.recv(1 << 16)
        self._struck.set()
        if fault == "stall":
            self._released.wait()
        return fault == "slow"


def _rest(client: socket.socket) -> bytes:
    """Everything that a client sends until it waits for an answer."""
    data = b""
    while select.select([client], [], [], _QUIET_S)[0] and (more := client.recv(1 << 16)):
        data += more
    return data


def _trickle(to: socket.socket, data: bytes) -> None:
    for first in range(0, len(data), _SLOW_BYTES):
        to.sendall(data[first : first + _SLOW_BYTES])
        time.sleep(_SLOW_S)
