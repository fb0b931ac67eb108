"""Real servers for tests: each on a free loopback port, in a folder of its own, ended with the test."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from dataflow.process import dies_with_parent
from dataflow.up import mongo_server, redis_server
from dataflow.up.ports import free_port
from dataflow.up.readiness import mongo_answers

_START_S = 15.0
_PORTS_TO_TRY = 5


class RedisServer:
    """A real redis-server with an append-only file, as a context manager.

    Data survive `kill` and `restart` and are gone after the context ends. Enter it in the main thread: the
    server ends with the thread that started it.

    Args:
        binary: the program; None for the one that `dataflow up` would use.
        settings: redis.conf settings beside the durable defaults, for example {"maxmemory": "20mb"}.
    """

    def __init__(self, binary: Path | None = None, settings: Mapping[str, str] | None = None) -> None:
        self.binary = binary or redis_server.find_binary()
        self.settings = dict(settings or {})
        self.port = 0
        self._folder: Path | None = None
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self._folder = Path(tempfile.mkdtemp(prefix="dataflow-redis-"))
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
        """Address of its database 0; the same after a restart."""
        return f"redis://{redis_server.HOST}:{self.port}/0"

    @property
    def version(self) -> tuple[int, ...]:
        """For example (7, 0, 15)."""
        return redis_server.version(self.binary)

    @property
    def pid(self) -> int:
        """Process id of the running server."""
        return self._running().pid

    @property
    def folder(self) -> Path:
        """Its data folder, log included. Only inside the context."""
        if self._folder is None:
            raise RuntimeError("this RedisServer is outside its context: use `with RedisServer() as server`")
        return self._folder

    def client(self, **options: object) -> redis.Redis:
        """A client that answers bytes and never repeats a command by itself. The caller closes it."""
        retry = Retry(NoBackoff(), 0)
        return redis.Redis.from_url(self.url, retry=retry, **options)  # type: ignore[no-any-return, no-untyped-call, unused-ignore]

    def start(self) -> None:
        """Start it and wait until it answers; on the port that it had before, if any."""
        ports = [self.port] if self.port else [free_port() for _ in range(_PORTS_TO_TRY)]
        for port in ports:
            if self._start_on(port):
                self.port = port
                return
        raise RuntimeError(f"redis-server did not start:\n{self._log_path().read_text(errors='replace')}")

    def stop(self) -> None:
        """End it in an orderly way (SIGTERM) and wait for that. Safe when it is stopped."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """End it as a crash would (SIGKILL) and wait for that."""
        self._end(signal.SIGKILL)

    def restart(self) -> None:
        """`stop` and `start` on the same port with the same data."""
        self.stop()
        self.start()

    def freeze(self) -> None:
        """Let it stand still (SIGSTOP): connections stay open and nothing is answered."""
        self._running().send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let it go on after `freeze`."""
        self._running().send_signal(signal.SIGCONT)

    def _start_on(self, port: int) -> bool:
        """Start on one port; False if the program ended, as it does when the port is taken."""
        command = redis_server.RedisCommand(self.binary, port, self.folder, self.settings)
        with self._log_path().open("ab") as log:
            self._process = subprocess.Popen(
                command.arguments,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                preexec_fn=dies_with_parent(signal.SIGKILL),
            )
        deadline = time.monotonic() + _START_S
        while self._process.poll() is None and time.monotonic() < deadline:
            if redis_server.serving_pid(command.url) == self._process.pid:
                return True
            time.sleep(0.01)
        self.kill()
        return False

    def _end(self, signum: signal.Signals) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        process.send_signal(signum)
        process.send_signal(signal.SIGCONT)
        try:
            process.wait(timeout=_START_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def _running(self) -> subprocess.Popen[bytes]:
        if self._process is None:
            raise RuntimeError("this RedisServer is not running: call start()")
        return self._process

    def _log_path(self) -> Path:
        return self.folder / "redis.log"

    def _leave(self) -> None:
        self.kill()
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
            self._folder = None


class MongoServer:
    """A real MongoDB-wire server over SQLite, as a context manager; the one that `dataflow up` starts.

    Documents survive `kill` and `start` and are gone after the context ends. Enter it in the main thread.
    """

    def __init__(self) -> None:
        self.port = 0
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

    def start(self) -> None:
        """Start it and wait until it answers; on the port that it had before, if any."""
        if self._folder is None:
            raise RuntimeError("this MongoServer is outside its context")
        self.port = self.port or free_port()
        log = self._folder / "mongo.log"
        with log.open("ab") as out:
            self._process = subprocess.Popen(
                mongo_server.command(self._folder, self.port),
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
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.wait()

    def _leave(self) -> None:
        self.kill()
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
            self._folder = None


def in_ci() -> bool:
    """Whether the tests run where nothing may be left out (CI=true)."""
    return os.environ.get("CI", "").lower() in ("1", "true", "yes")
