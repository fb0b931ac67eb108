"""Whether a child does its work: always by identity, never by an open port alone, which may be someone else's."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from pathlib import Path
from urllib.parse import urlsplit

import httpx

from dataflow.errors import DataflowError
from dataflow.store.keys import Keys
from dataflow.store.live import live
from dataflow.store.redis import connect
from dataflow.up.redis_server import serving_pid

Ready = Callable[[int], bool]
"""Asked with the pid of a child; must answer within two seconds or so."""

_LISTEN = "0A"
_TIMEOUT_S = 1.0


def redis_answers(url: str) -> Ready:
    """The Redis at this address is the child itself, and has loaded its data."""
    return lambda pid: serving_pid(url) == pid


def mongo_answers(url: str, port: int) -> Ready:
    """A process of the child's session listens on this port and answers as a MongoDB does."""
    return lambda pid: listens(pid, port) and _pings(url)


def door_answers(url: str) -> Ready:
    """A process of the child's session listens on the port of this address and answers that it is ready."""
    port = urlsplit(url).port or 80
    return lambda pid: listens(pid, port) and _says_ok(f"{url}/readyz")


def beats(url: Callable[[], str], keys: Keys, kind: str, name: str) -> Ready:
    """The child has sent a heartbeat in which nothing is still being set up.

    Args:
        url: the Redis with the heartbeats; asked when it is needed.
        keys: the flow's.
        kind, name: as the child calls itself (`dataflow.store.live`).
    """

    def ready(pid: int) -> bool:
        wanted = (kind, f"{name}@{socket.gethostname()}.{pid}")
        try:
            with closing(connect(url(), timeout_s=_TIMEOUT_S)) as redis:
                return any(
                    (one.kind, one.process) == wanted and one.facts.get("ready", True) for one in live(redis, keys)
                )
        except DataflowError:
            return False

    return ready


def listens(session: int, port: int) -> bool:
    """Whether a process of a session has a listening TCP socket on a port. Reads /proc; no connection is made."""
    wanted = {f"socket:[{inode}]" for inode in _listening_inodes(port)}
    return bool(wanted) and any(wanted & set(_open_files(pid)) for pid in _members(session))


def _listening_inodes(port: int) -> Iterator[str]:
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        with suppress(FileNotFoundError):
            for line in Path(table).read_text(encoding="ascii").splitlines()[1:]:
                fields = line.split()
                local, state, inode = fields[1], fields[3], fields[9]
                if state == _LISTEN and int(local.rpartition(":")[2], 16) == port:
                    yield inode


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


def _pings(url: str) -> bool:
    import pymongo
    from pymongo.errors import PyMongoError

    client: pymongo.MongoClient[dict[str, object]] = pymongo.MongoClient(
        url, serverSelectionTimeoutMS=500, connectTimeoutMS=500, socketTimeoutMS=1000
    )
    try:
        client.admin.command("ping")
    except PyMongoError:
        return False
    finally:
        client.close()
    return True


def _says_ok(url: str) -> bool:
    try:
        return httpx.get(url, timeout=_TIMEOUT_S, trust_env=False).status_code == httpx.codes.OK
    except httpx.HTTPError:
        return False
