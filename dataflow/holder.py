"""Who holds a lease: nonces that tell a dead process of this machine from a live one.

A lease outlives the process that took it. Its successor on the same machine need not wait for it to run out: the
nonce names the process, and whether that still runs can be looked up. On any doubt it counts as alive. So the
machine is known by its present boot, not only by a name that another may have, too: who takes over from the living
makes them run everything twice, and a message that a worker takes over again and again counts as one that kills.
"""

from __future__ import annotations

import os
import secrets
import socket
from functools import cache
from pathlib import Path

from dataflow.process import ProcessId, boot

_SEPARATOR = "|"


def new_nonce() -> str:
    """A random name for one runner in this process."""
    own = ProcessId.own()
    return _SEPARATOR.join((_place(), str(own.pid), own.started, secrets.token_hex(8)))


def is_dead(nonce: str) -> bool:
    """Whether the nonce is of a process that ran on this machine since it was started, in our pid namespace, and has
    ended.
    """
    place, _, rest = nonce.partition(_SEPARATOR)
    pid, _, rest = rest.partition(_SEPARATOR)
    started, _, random = rest.partition(_SEPARATOR)
    if place != _place() or not pid.isdigit() or not random:
        return False
    return not ProcessId(int(pid), started).alive


@cache
def _place() -> str:
    """The machine and the pid namespace: a pid means nothing outside them."""
    return f"{socket.gethostname()}/{Path('/proc/self/ns/pid').readlink()}/{os.getuid()}/{boot()}"
