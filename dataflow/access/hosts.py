"""For whom a request was meant: the Host that it names.

A service without keys is open to its own machine. A page in a browser on that machine can reach it all the same, if the
page's own name leads to 127.0.0.1 (DNS rebinding). The browser then says that name as Host.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from functools import lru_cache


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach a server on this host name or address. Pure; names are not looked up."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


class Hosts:
    """The names of a service: those of loopback, and further ones. Thread-safe.

    Args:
        names: further host names or addresses, without a port.
    """

    def __init__(self, names: Iterable[str] = ()) -> None:
        self._names = frozenset(name.lower() for name in names)
        self.known = lru_cache(maxsize=256)(self._judge)

    def _judge(self, header: str) -> bool:
        """Whether a Host header, with or without a port, names this service. It is remembered per header."""
        host = header.lower()
        name, colon, port = host.rpartition(":")
        if colon and port.isdecimal() and (":" not in name or name.endswith("]")):
            host = name
        return is_loopback(host) or host in self._names
