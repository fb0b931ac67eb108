"""Free TCP ports of the loopback interface."""

from __future__ import annotations

import socket

HOST = "127.0.0.1"


def free_port(preferred: int | None = None) -> int:
    """A port that nothing listens on now: the preferred one if it is free, else any.

    Nothing reserves it: whoever uses it must check that it really got it.
    """
    if preferred is not None and is_free(HOST, preferred):
        return preferred
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port: int = probe.getsockname()[1]
    return port


def is_free(host: str, port: int) -> bool:
    """Whether a server could listen on this address now."""
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
    return True
