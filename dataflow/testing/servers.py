"""Real servers for tests: each on a free loopback port, in a folder of its own, ended with the test."""

from __future__ import annotations

import os
import resource
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping
from contextlib import closing
from pathlib import Path
from types import TracebackType
from typing import ClassVar, Self
from urllib.parse import quote

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from dataflow.clickhouse.address import ServerAddress
from dataflow.clickhouse.link import Link
from dataflow.errors import DataflowError
from dataflow.process import dies_with_parent
from dataflow.store.pool import client_of
from dataflow.up import redis_server
from dataflow.up.ports import free_port

_START_S = 15.0
_PORTS_TO_TRY = 5
_OWN_USERS = ("aclfile", "requirepass", "user")


class RedisServer:
    """A real redis-server with an append-only file, as a context manager.

    Data survive `kill` and `restart` and are gone after the context ends. Enter it in the main thread: the
    server ends with the thread that started it.

    Args:
        binary: the program; None for the one that `dataflow up` would use.
        settings: redis.conf settings beside the durable defaults, for example {"maxmemory": "20mb"}.
        environ: of the server, beside our own; see `dataflow.testing.clock`.
    """

    acl_file: ClassVar[Path | None] = None
    """Users for every server from Redis 7 on whose settings name neither users nor a password; None for none."""

    def __init__(
        self,
        binary: Path | None = None,
        settings: Mapping[str, str] | None = None,
        environ: Mapping[str, str] | None = None,
    ) -> None:
        self.binary = binary or redis_server.find_binary()
        self.environ = dict(environ or {})
        self.settings = dict(settings or {})
        if self.acl_file and self.version >= (7,) and self.settings.keys().isdisjoint(_OWN_USERS):
            self.settings["aclfile"] = str(self.acl_file)
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
        return client_of(self.url, retry=retry, **options)

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

    def log_bytes(self) -> int:
        """Length of the append-only file: where a cut would lose what follows. Every answered write is before it."""
        return self._append_only_file().stat().st_size

    def restart_cut_at(self, log_bytes: int) -> None:
        """Crash, lose what was written after a length of `log_bytes`, and start: as after a loss of power."""
        self.kill()
        with self._append_only_file().open("r+b") as file:
            file.truncate(log_bytes)
        self.start()

    def _append_only_file(self) -> Path:
        """The file that is written to now; from Redis 7 on it has a folder of its own."""
        found = [*self.folder.glob("appendonlydir/*.incr.aof"), *self.folder.glob("appendonly.aof")]
        return max(found, key=lambda path: path.stat().st_mtime_ns)

    def freeze(self) -> None:
        """Let it stand still (SIGSTOP): connections stay open and nothing is answered."""
        self._running().send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let it go on after `freeze`."""
        self._running().send_signal(signal.SIGCONT)

    def fill_disk(self) -> None:
        """Let every write to a file fail from now on, as on a full disk."""
        limit_files(self.pid, 1)

    def free_disk(self) -> None:
        """Let it write again."""
        limit_files(self.pid, resource.RLIM_INFINITY)

    def _start_on(self, port: int) -> bool:
        """Start on one port; False if the program ended, as it does when the port is taken."""
        command = redis_server.RedisCommand(self.binary, port, self.folder, self.settings)
        with self._log_path().open("ab") as log:
            self._process = subprocess.Popen(
                command.arguments,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={**os.environ, **self.environ},
                start_new_session=True,
                preexec_fn=_arranged(),
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
        ended(process, signum)

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


class ClickHouseServer:
    """A real clickhouse-server in a folder of its own, as a context manager.

    Debian's package is enough: its program is run as a plain process with its own configuration, and no service. Data
    survive `kill` and `restart` and are gone after the context ends. Enter it in the main thread: the server ends with
    the thread that started it.

    Users: `default` without a password, `writer` with the password `WRITER_PASSWORD`.

    Args:
        binary: the program; None for the one of this machine.
    """

    WRITER_PASSWORD = "p@ss:w/rd"

    def __init__(self, binary: Path | None = None) -> None:
        found = binary or clickhouse_binary()
        if found is None:
            raise RuntimeError(NO_CLICKHOUSE)
        self.binary = found
        self.port = 0
        self._folder: Path | None = None
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self._folder = Path(tempfile.mkdtemp(prefix="dataflow-clickhouse-"))
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
        """Its address, for the user who needs no password; the same after a restart."""
        return f"clickhouse://{redis_server.HOST}:{self.port}"

    @property
    def writer_url(self) -> str:
        """Its address for the user with a password."""
        return f"clickhouse://writer:{quote(self.WRITER_PASSWORD, safe='')}@{redis_server.HOST}:{self.port}"

    @property
    def pid(self) -> int:
        """Process id of the running server."""
        return self._running().pid

    @property
    def running(self) -> bool:
        """Whether its process lives; a frozen one does."""
        return self._process is not None and self._process.poll() is None

    @property
    def folder(self) -> Path:
        """Its data folder, log included. Only inside the context."""
        if self._folder is None:
            raise RuntimeError("this ClickHouseServer is outside its context: use `with ClickHouseServer() as server`")
        return self._folder

    def start(self) -> None:
        """Start it and wait until it answers; on the port that it had before, if any."""
        ports = [self.port] if self.port else [free_port() for _ in range(_PORTS_TO_TRY)]
        for port in ports:
            if self._start_on(port):
                self.port = port
                return
        raise RuntimeError(f"clickhouse-server did not start:\n{self._log()}")

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

    def fill_disk(self) -> None:
        """Let every write to a file fail from now on, as on a full disk."""
        limit_files(self.pid, 1)

    def free_disk(self) -> None:
        """Let it write again."""
        limit_files(self.pid, resource.RLIM_INFINITY)

    def _start_on(self, port: int) -> bool:
        config = self.folder / "config.xml"
        config.write_text(_CLICKHOUSE_CONFIG.format(folder=self.folder, host=redis_server.HOST, port=port))
        users = _CLICKHOUSE_USERS.format(host=redis_server.HOST, password=self.WRITER_PASSWORD)
        (self.folder / "users.xml").write_text(users)
        with (self.folder / "output.log").open("ab") as output:
            self._process = subprocess.Popen(
                [str(self.binary), *_CLICKHOUSE_ARGUMENTS.get(self.binary.name, ()), f"--config-file={config}"],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                cwd=self.folder,
                start_new_session=True,
                preexec_fn=_arranged(),
            )
        deadline = time.monotonic() + _CLICKHOUSE_START_S
        while self._process.poll() is None and time.monotonic() < deadline:
            if _clickhouse_answers(port):
                return True
            time.sleep(0.05)
        self.kill()
        return False

    def _end(self, signum: signal.Signals) -> None:
        process, self._process = self._process, None
        ended(process, signum)

    def _running(self) -> subprocess.Popen[bytes]:
        if self._process is None:
            raise RuntimeError("this ClickHouseServer is not running: call start()")
        return self._process

    def _log(self) -> str:
        return "\n".join(path.read_text(errors="replace")[-4000:] for path in sorted(self.folder.glob("*.log")))

    def _leave(self) -> None:
        self.kill()
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
            self._folder = None


NO_CLICKHOUSE = "there is no clickhouse-server on this machine (Debian: apt-get install clickhouse-server)"

_CLICKHOUSE_START_S = 60.0
_CLICKHOUSE_ARGUMENTS = {"clickhouse": ("server",)}
_CLICKHOUSE_CONFIG = """<yandex>
  <logger><level>warning</level><log>{folder}/server.log</log><errorlog>{folder}/errors.log</errorlog></logger>
  <listen_host>{host}</listen_host>
  <tcp_port>{port}</tcp_port>
  <path>{folder}/data/</path>
  <tmp_path>{folder}/tmp/</tmp_path>
  <user_files_path>{folder}/files/</user_files_path>
  <format_schema_path>{folder}/schemas/</format_schema_path>
  <users_config>users.xml</users_config>
  <default_profile>default</default_profile>
  <default_database>default</default_database>
  <timezone>UTC</timezone>
  <mark_cache_size>67108864</mark_cache_size>
</yandex>
"""
_CLICKHOUSE_USERS = """<yandex>
  <profiles><default/></profiles>
  <quotas><default/></quotas>
  <users>
    <default>
      <password></password><networks><ip>{host}</ip></networks><profile>default</profile><quota>default</quota>
    </default>
    <writer>
      <password>{password}</password><networks><ip>{host}</ip></networks>
      <profile>default</profile><quota>default</quota>
    </writer>
  </users>
</yandex>
"""


def clickhouse_binary() -> Path | None:
    """The clickhouse-server of this machine; None if there is none."""
    places = f"{os.environ.get('PATH', '')}{os.pathsep}/usr/sbin{os.pathsep}/usr/local/bin"
    found = shutil.which("clickhouse-server", path=places) or shutil.which("clickhouse", path=places)
    return Path(found) if found else None


def _arranged() -> Callable[[], None]:
    """A server ends with us, and takes a failing write as an error instead of a signal that kills it."""
    dies = dies_with_parent(signal.SIGKILL)

    def arrange() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        dies()

    return arrange


def limit_files(pid: int, most_bytes: int) -> None:
    """Let a process write no file beyond so many bytes from now on. It must not die of SIGXFSZ, as Python does not."""
    _, hard = resource.prlimit(pid, resource.RLIMIT_FSIZE)
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (most_bytes, hard))


def _clickhouse_answers(port: int) -> bool:
    try:
        socket.create_connection((redis_server.HOST, port), 1).close()
        with closing(Link(ServerAddress(redis_server.HOST, port))) as link:
            link.version()
    except (OSError, DataflowError):
        return False
    return True


def ended(process: subprocess.Popen[bytes] | None, signum: signal.Signals) -> None:
    """End a process, whether it stands still or not, and wait for that."""
    if process is None:
        return
    process.send_signal(signum)
    process.send_signal(signal.SIGCONT)
    try:
        process.wait(timeout=_START_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def in_ci() -> bool:
    """Whether the tests run where nothing may be left out (CI=true)."""
    return os.environ.get("CI", "").lower() in ("1", "true", "yes")
