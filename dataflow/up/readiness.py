"""Whether a child does its work: always by identity, never by an open port alone, which may be someone else's."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import httpx

from dataflow.up.redis_server import serving_pid

Ready = Callable[[int], bool]
"""Asked with the pid of a child; must answer within two seconds or so."""

_LISTEN = "0A"


def redis_answers(url: str) -> Ready:
    """The Redis at this address is the child itself, and has loaded its data."""
    return lambda pid: serving_pid(url) == pid


def hub_answers(port: int) -> Ready:
    """A process of the child's session listens on this port and answers that it is ready."""
    return lambda pid: listens(pid, port) and _says_ok(f"http://127.0.0.1:{port}/readyz")


def session_listens(port: int) -> Ready:
    """A process of the child's session listens on this port."""
    return lambda pid: listens(pid, port)


def listens(session: int, port: int) -> bool:
    """Whether a process of a session has a listening TCP socket on a port. Reads /proc; no connection is made."""
    wanted = {f"socket:[{inode}]" for inode in _listening_inodes(port)}
    return bool(wanted) and any(wanted & set(_open_files(pid)) for pid in _members(session))


def _listening_inodes(port: int) -> Iterator[str]:
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        with suppress(FileNotFoundError):
            for line in Path(table).read_text(encoding="ascii").splitlines()[1:]:
                (
                    _,
                    local,
                    _,
                    state,
                    *_,
                ) = fields = line.split()
                if state == _LISTEN and int(local.rpartition(":")[2], 16) == port:
                    yield fields[9]


def _members(session: int) -> Iterator[int]:
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with suppress(ProcessLookupError, PermissionError):
                if os.getsid(int(entry.name)) == session:
                    yield int(entry.name)


def _open_files(pid: int) -> Iterator[str]:
    with suppress(FileNotFoundError, PermissionError, ProcessLookupError):
        for entry in Path(f"/proc/{pid}/fd").iterdir():
            with suppress(FileNotFoundError):
                yield str(entry.readlink())


def _says_ok(url: str) -> bool:
    try:
        return httpx.get(url, timeout=1.0, trust_env=False).status_code == httpx.codes.OK
    except httpx.HTTPError:
        return False
