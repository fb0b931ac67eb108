"""A real MongoDB-wire server for tests: on a free loopback port, in a folder of its own, ended with the test."""

from __future__ import annotations

import os
import resource
import shutil
import signal
import sqlite3
import subprocess
import tempfile
import time
from contextlib import closing
from pathlib import Path
from types import TracebackType
from typing import Self

from dataflow.process import dies_with_parent
from dataflow.testing.servers import ended, limit_files
from dataflow.up import mongo_server
from dataflow.up.ports import free_port
from dataflow.up.readiness import mongo_answers

_START_S = 15.0


class MongoServer:
    """A real MongoDB-wire server over SQLite, as a context manager; the one that `dataflow up` starts.

    Documents survive `kill` and `start` and are gone after the context ends. Enter it in the main thread.
    """

    def __init__(self) -> None:
        self.port = 0
        self._snapshots = 0
        self._folder: Path | None = None
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self._folder = Path(tempfile.mkdtemp(prefix="dataflow-mongo-"))
        try:
            self.start()
        except BaseException:
            self._leave()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._leave()

    @property
    def url(self) -> str:
        """Its address; the same after a restart."""
        return mongo_server.url(self.port)

    @property
    def folder(self) -> Path:
        """Its data folder, log included. Only inside the context."""
        if self._folder is None:
            raise RuntimeError("this MongoServer is outside its context: use `with MongoServer() as server`")
        return self._folder

    @property
    def pid(self) -> int:
        """Process id of the running server."""
        if self._process is None:
            raise RuntimeError("this MongoServer is not running: call start()")
        return self._process.pid

    def freeze(self) -> None:
        """Let it stand still (SIGSTOP): connections stay open and nothing is answered."""
        os.kill(self.pid, signal.SIGSTOP)

    def thaw(self) -> None:
        """Let it go on after `freeze`."""
        os.kill(self.pid, signal.SIGCONT)

    def fill_disk(self) -> None:
        """Let every write to a file fail from now on, as on a full disk."""
        limit_files(self.pid, 1)

    def free_disk(self) -> None:
        """Let it write again."""
        limit_files(self.pid, resource.RLIM_INFINITY)

    def snapshot(self) -> Path:
        """Copy the documents as they are now, whole, while it runs. See `restart_from`."""
        self._snapshots += 1
        copy = self.folder / f"snapshot{self._snapshots}.db"
        with closing(sqlite3.connect(self._documents)) as source, closing(sqlite3.connect(copy)) as target:
            source.backup(target)
        return copy

    def restart_from(self, snapshot: Path) -> None:
        """Crash, lose what was written after a snapshot, and start: as after a loss of power."""
        self.kill()
        for path in self.folder.glob(f"{self._documents.name}*"):  # the journals of what is lost, too
            path.unlink()
        shutil.copyfile(snapshot, self._documents)
        self.start()

    @property
    def _documents(self) -> Path:
        return self.folder / mongo_server.DOCUMENTS

    def start(self) -> None:
        """Start it and wait until it answers; on the port that it had before, if any."""
        self.port = self.port or free_port()
        log = self.folder / "mongo.log"
        with log.open("ab") as out:
            self._process = subprocess.Popen(
                mongo_server.command(self.folder, self.port),
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                start_new_session=True,
                preexec_fn=dies_with_parent(signal.SIGKILL),
            )
        answers = mongo_answers(self.url, self.port)
        deadline = time.monotonic() + _START_S
        while self._process.poll() is None and time.monotonic() < deadline:
            if answers(self._process.pid):
                return
            time.sleep(0.02)
        self.kill()
        raise RuntimeError(f"the MongoDB did not start:\n{log.read_text(errors='replace')}")

    def kill(self) -> None:
        """End it as a crash would (SIGKILL) and wait for that. Safe when it does not run."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        """End it in an orderly way (SIGTERM) and wait for that. Safe when it does not run."""
        self._end(signal.SIGTERM)

    def _end(self, signum: signal.Signals) -> None:
        process, self._process = self._process, None
        ended(process, signum)

    def _leave(self) -> None:
        self.kill()
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
            self._folder = None
