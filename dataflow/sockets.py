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
from typing import Any, Final, Self

_TIMEVAL: Final = "qq" if socket.SO_RCVTIMEO == 66 else "ll"
"""The kernel's: SO_RCVTIMEO_NEW (include/uapi/asm-generic/socket.h) takes 64 bits on 32-bit machines, too."""

_TCP_INFO: Final[int | None] = getattr(socket, "TCP_INFO", None)
"""Linux tells the state of a connection (tcp(7)) without giving the interpreter's lock away."""
_ESTABLISHED: Final = b"\x01"
"""TCP_ESTABLISHED, the first byte of struct tcp_info (include/net/tcp_states.h)."""


class KernelTimedSocket(socket.socket):
    """A connected socket that is used as any other, time-outs and their errors included; make it with `of`.

    Two differences: a signal that comes while the main thread waits begins the time-out anew, for Python repeats the
    call; and on a Unix socket the kernel grants it to each part of what is sent.
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
        if self.family != socket.AF_UNIX and _TCP_INFO is not None:
            return self.getsockopt(socket.IPPROTO_TCP, _TCP_INFO, 1) == _ESTABLISHED
        try:
            return super().recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT) != b""
        except BlockingIOError:
            return True
        except OSError:
            return False

    def recv(self, *args: Any) -> bytes:
        """Raises TimeoutError; BlockingIOError only if it is not to wait."""
        try:
            return super().recv(*args)
        except BlockingIOError as error:
            raise self._late(error) from None

    def recv_into(self, *args: Any) -> int:
        """Raises TimeoutError; BlockingIOError only if it is not to wait."""
        try:
            return super().recv_into(*args)
        except BlockingIOError as error:
            raise self._late(error) from None

    def send(self, *args: Any) -> int:
        """Raises TimeoutError; BlockingIOError only if it is not to wait."""
        try:
            return super().send(*args)
        except BlockingIOError as error:
            raise self._late(error) from None

    def sendall(self, data: Any, *args: Any) -> None:
        """Raises TimeoutError: some of it may have been sent. The time-out is for all of it."""
        begun = time.monotonic()
        rest = memoryview(data)[self.send(data, *args) :]
        while rest:  # the kernel waits as long as it may, counting in ticks, and then tells how much it has taken
            if self._seconds and time.monotonic() - begun >= 0.99 * self._seconds:
                raise TimeoutError("timed out")
            rest = rest[self.send(rest, *args) :]

    def _late(self, error: OSError) -> OSError:
        return error if self._seconds == 0 else TimeoutError("timed out")


def _timeval(seconds: float | None) -> bytes:
    """struct timeval; of nothing but zeros the kernel waits for ever."""
    microseconds = 0 if seconds is None else max(1, math.ceil(seconds * 1_000_000))
    return struct.pack(_TIMEVAL, *divmod(microseconds, 1_000_000))
