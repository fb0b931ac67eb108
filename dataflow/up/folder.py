"""The data folder `.dataflow/` beside a flow file: its lock and what lies where in it.

lock            held by the `up` that runs here; holds its process id
run.json        addresses of the embedded servers (dataflow/run_file.py)
logs/           one log per child, and up.log of an `up -d`
redis/<name>/   data of an embedded Redis
warehouse/      data of the embedded ClickHouse
mongo/<name>/   documents of an embedded MongoDB
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import msgspec

from dataflow import run_file
from dataflow.errors import UserError
from dataflow.process import ProcessId


class AlreadyRunning(UserError):
    """Another `dataflow up` runs in this folder."""


@dataclass(frozen=True, slots=True)
class DataFolder:
    """Everything that a flow keeps on this machine."""

    path: Path

    @classmethod
    def of(cls, flow_path: Path) -> DataFolder:
        """The folder of a flow file. Creates nothing."""
        return cls(run_file.data_folder(flow_path))

    @property
    def logs(self) -> Path:
        """Folder of the children's logs."""
        return self.path / "logs"

    @property
    def warehouse(self) -> Path:
        """Folder of the embedded ClickHouse."""
        return self.path / "warehouse"

    def redis(self, connection: str) -> Path:
        """Folder of one embedded Redis."""
        return self.path / "redis" / connection

    def mongo(self, connection: str) -> Path:
        """Folder of one embedded MongoDB."""
        return self.path / "mongo" / connection

    def create(self) -> None:
        """Make the folder, readable by its owner only. Safe to repeat."""
        self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.logs.mkdir(exist_ok=True)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Own the folder while the context lasts. Does not wait: raises AlreadyRunning, which says who runs.

        The kernel lets the lock go when this process ends, however it ends.
        """
        with self._lock_path().open("a+b") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise AlreadyRunning(_who(self)) from None
            file.truncate(0)
            file.write(msgspec.json.encode(ProcessId.own()))
            file.flush()
            yield

    def is_locked(self) -> bool:
        """Whether an `up` runs here. Asks the lock itself, so a file left by a killed one does not count."""
        try:
            handle = os.open(self._lock_path(), os.O_RDONLY)
        except FileNotFoundError:
            return False
        try:
            fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        finally:
            os.close(handle)
        return False

    def holder(self) -> ProcessId | None:
        """The `up` that runs here, None if none does (or it has only just taken the lock)."""
        if not self.is_locked():
            return None
        try:
            found = msgspec.json.decode(self._lock_path().read_bytes(), type=ProcessId)
        except msgspec.DecodeError:
            return None
        return found if found.alive else None

    def _lock_path(self) -> Path:
        return self.path / "lock"


def _who(folder: DataFolder) -> str:
    holder = folder.holder()
    pid = f" (pid {holder.pid})" if holder else ""
    return f"`dataflow up` already runs in {folder.path.parent}{pid}: use it, or stop it with `dataflow down`"
