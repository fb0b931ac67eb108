"""The servers and processes of a run: fresh ones for every sample, ended with it."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import TracebackType
from typing import Self

from benchmarks.wire import Wire
from dataflow.flow.load import load
from dataflow.flow.spec import Flow
from dataflow.process import dies_with_parent
from dataflow.store.declare import apply
from dataflow.store.keys import Keys
from dataflow.store.redis import connect
from dataflow.testing.servers import ClickHouseServer, RedisServer

ROOT = Path(__file__).parents[1]
QUIET = {"auto-aof-rewrite-percentage": "0"}
"""Beside the durable defaults (append-only file, fsync every second): no rewrite of the file in the middle of a run."""
DEADLINE_S = 300.0


class Lab:
    """What contenders use. A context manager; use it in the main thread."""

    def __init__(self) -> None:
        self._stack = ExitStack()
        self._clickhouse: ClickHouseServer | None = None

    def __enter__(self) -> Self:
        self.folder = Path(self._stack.enter_context(tempfile.TemporaryDirectory(prefix="dataflow-bench-")))
        (self.folder / "steps.py").write_text((ROOT / "benchmarks" / "steps.py").read_text("utf-8"), "utf-8")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    @property
    def clickhouse(self) -> ClickHouseServer:
        """The ClickHouse server of the whole run, started when it is first asked for."""
        if self._clickhouse is None:
            self._clickhouse = self._stack.enter_context(ClickHouseServer())
        return self._clickhouse

    def redis(self) -> RedisServer:
        """A new, empty redis-server; a context manager."""
        return RedisServer(settings=QUIET)

    def flow(self, text: str, *urls: str) -> Flow:
        """A flow file beside the handlers, applied to its servers. `text` names the addresses {0}, {1} ..."""
        path = self.folder / "flow.yml"
        path.write_text(text.replace("{0}", urls[0]).replace("{1}", urls[-1]), "utf-8")
        flow = load(path)
        for name in flow.redis_connections:
            client = connect(flow.connections[name].url)
            apply(flow, client, name)
            client.close()
        return flow

    @contextmanager
    def subfolder(self) -> Iterator[Path]:
        """An empty folder for the block."""
        with tempfile.TemporaryDirectory(dir=self.folder) as name:
            yield Path(name)

    @contextmanager
    def process(self, *arguments: str, env: Mapping[str, str] | None = None) -> Iterator[subprocess.Popen[bytes]]:
        """`python -m ARGUMENTS` until the end of the block; then it gets a SIGTERM and must end well.

        Raises RuntimeError with its output when it does not.
        """
        log = self.folder / "process.log"
        with log.open("wb") as output:
            process = subprocess.Popen(
                [sys.executable, "-P", "-m", *arguments],
                stdin=subprocess.DEVNULL, stdout=output, stderr=output, cwd=self.folder,
                env={**os.environ, "PYTHONPATH": str(ROOT), "DATAFLOW_LOG_LEVEL": "warning", **(env or {})},
                preexec_fn=dies_with_parent(signal.SIGKILL),
            )  # fmt: skip
            try:
                yield process
                if process.poll() is None:
                    process.terminate()
                    process.wait(30)
                    return
            except BaseException:
                process.kill()
                process.wait()
                raise
        if process.returncode != 0:
            raise RuntimeError(
                f"{arguments} ended with {process.returncode}:\n{log.read_text(errors='replace')[-4000:]}"
            )

    def run(self, *arguments: str) -> str:
        """`python -m ARGUMENTS` to its end. Returns what it prints."""
        done = subprocess.run(
            [sys.executable, "-P", "-m", *arguments], capture_output=True, text=True, cwd=self.folder, check=False,
            env={**os.environ, "PYTHONPATH": str(ROOT), "DATAFLOW_LOG_LEVEL": "warning"}, timeout=DEADLINE_S,
        )  # fmt: skip
        if done.returncode:
            raise RuntimeError(f"{arguments} ended with {done.returncode}:\n{done.stdout[-2000:]}{done.stderr[-4000:]}")
        return done.stdout

    def wait(self, process: subprocess.Popen[bytes], done: Callable[[], bool]) -> None:
        """Look now and then until it is done. Raises RuntimeError when the process ends first, or it takes too long."""
        deadline = time.monotonic() + DEADLINE_S
        while not done():
            if process.poll() not in (None, 0) or time.monotonic() > deadline:
                log = (self.folder / "process.log").read_text(errors="replace")[-4000:]
                raise RuntimeError(f"not done (exit code {process.poll()}):\n{log}")
            time.sleep(0.05)

    def wait_for_port(self, process: subprocess.Popen[bytes], port: int) -> None:
        """Until something listens there."""
        self.wait(process, lambda: _listens(port))


def stream_key(flow: Flow, stream: str) -> str:
    """The Redis key of a stream of a flow."""
    return Keys(flow.name).stream(stream).stream


def length(url: str, key: str) -> int:
    """Entries in a stream."""
    with Wire(url) as wire:
        return int(wire.call("XLEN", key))


def holds(url: str, key: str, n: int) -> Callable[[], bool]:
    """Whether a stream holds so many entries: a question for `Lab.wait`."""
    return lambda: length(url, key) >= n


def _listens(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
    except OSError:
        return False
    return True


def children_rss(pid: int) -> int:
    """Resident bytes of a process and all below it."""
    return sum(int(_read(one, "statm").split()[1]) * 4096 for one in _family(pid))


def cpu_seconds(pid: int) -> float:
    """CPU time that a process and all below it have used. A process that has ended counts until it is waited for."""
    ticks = sum(sum(map(int, _read(one, "stat").rpartition(")")[2].split()[11:13])) for one in _family(pid))
    return ticks / os.sysconf("SC_CLK_TCK")


def _family(pid: int) -> list[int]:
    found = [pid]
    for one in found:
        found += map(int, _read(one, f"task/{one}/children").split())
    return found


def _read(pid: int, name: str) -> str:
    return Path(f"/proc/{pid}/{name}").read_text(encoding="utf-8")
