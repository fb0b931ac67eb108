"""Sockets whose time-outs the kernel keeps.

Python keeps a socket's time-out by itself: it asks with poll(2) before each recv and each send, and turns the socket to
and fro with ioctl(2) when the time-out changes. Each of these calls gives the interpreter's lock away, and with several
threads at work each time another one takes it: of the CPU time of a small request that was a tenth.
"""

from __future__ import annotations

import math
import socket
import struct
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final, Self, TypeVar

T = TypeVar("T")

_TIMEVAL: Final = "qq" if socket.SO_RCVTIMEO == 66 else "ll"
"""The kernel's: SO_RCVTIMEO_NEW (include/uapi/asm-generic/socket.h) takes 64 bits on 32-bit machines, too."""

_TCP_INFO: Final[int | None] = getattr(socket, "TCP_INFO", None)
"""Linux tells the state of a connection (tcp(7)) without giving the interpreter's lock away."""
_ESTABLISHED: Final = b"\x01"
"""TCP_ESTABLISHED, the first byte of struct tcp_info (include/net/tcp_states.h)."""


class KernelTimedSocket(socket.socket):
    """A connected socket whose `recv`, `recv_into`, `send` and `sendall` keep time-outs, with the usual errors; make it
    with `of`. What else there is to receive and send with is not for it.

    Two differences: each signal that comes while the main thread waits makes it wait up to a second longer, for Python
    repeats the call (if one comes each second, for as long as they come); and on a Unix socket the kernel grants the
    time-out to each part of what is sent.
    """

    _seconds: float | None = None

    @classmethod
    def of(cls, sock: socket.socket) -> Self:
        """Take over a connected socket, with its time-out; the one given is closed, its connection is not."""
        seconds = sock.gettimeout()
        made = cls(sock.family, sock.type, sock.proto, sock.detach())
        socket.socket.setblocking(made, True)
        made.settimeout(seconds)
        return made

    def gettimeout(self) -> float | None:
        """Seconds; None: for ever."""
        return self._seconds

    def settimeout(self, value: float | None) -> None:
        """So many seconds for each recv and each send; None: for ever; 0: do not wait."""
        if value == self._seconds:
            return
        if value == 0:
            super().setblocking(False)
        else:
            if self._seconds == 0:
                super().setblocking(True)
            timeval = _timeval(value)
            self.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, timeval)
            self.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, timeval)
        self._seconds = value

    def setblocking(self, flag: bool) -> None:
        """Wait for ever, or not at all."""
        self.settimeout(None if flag else 0)

    def is_open(self) -> bool:
        """Whether the other side has not hung up, as far as is known here. Neither waits nor reads."""
        try:
            if self.family != socket.AF_UNIX and _TCP_INFO is not None:
                return self.getsockopt(socket.IPPROTO_TCP, _TCP_INFO, 1) == _ESTABLISHED
            return super().recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT) != b""
        except BlockingIOError:
            return True
        except OSError:
            return False

    def recv(self, *args: Any) -> bytes:
        """Raises TimeoutError; BlockingIOError only if it is not to wait."""
        try:
            return super().recv(*args)
        except BlockingIOError:
            return self._go_on(super().recv, args)

    def recv_into(self, *args: Any) -> int:
        """Raises TimeoutError; BlockingIOError only if it is not to wait."""
        try:
            return super().recv_into(*args)
        except BlockingIOError:
            return self._go_on(super().recv_into, args)

    def send(self, *args: Any) -> int:
        """Raises TimeoutError; BlockingIOError only if it is not to wait."""
        try:
            return super().send(*args)
        except BlockingIOError:
            return self._go_on(super().send, args)

    def sendall(self, data: Any, *args: Any) -> None:
        """Raises TimeoutError: some of it may have been sent. All of it may take up to twice the time-out."""
        begun = time.monotonic()
        rest = memoryview(data)[self.send(data, *args) :]
        while rest:  # the kernel waits as long as it may, counting in ticks, and then tells how much it has taken
            if self._seconds and time.monotonic() - begun >= 0.99 * self._seconds:
                raise TimeoutError("timed out")
            rest = rest[self.send(rest, *args) :]

    def _go_on(self, call: Callable[..., T], args: tuple[Any, ...]) -> T:
        """The first part of the time is over: wait for the others."""
        if self._seconds == 0:
            return call(*args)
        for _ in range(_parts(self._seconds) - 1):
            with suppress(BlockingIOError):
                return call(*args)
        raise TimeoutError("timed out")


def _parts(seconds: float | None) -> int:
    """In how many equal waits a time-out is kept, none longer than a second."""
    return max(1, math.ceil(seconds or 0))


def _timeval(seconds: float | None) -> bytes:
    """struct timeval of one part; of nothing but zeros the kernel waits for ever."""
    microseconds = 0 if seconds is None else max(1, math.ceil(seconds / _parts(seconds) * 1_000_000))
    return struct.pack(_TIMEVAL, *divmod(microseconds, 1_000_000))
