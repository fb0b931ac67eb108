"""What the tests of the hub share: a flow, the application on a real Redis, and the hub as a process."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx
from flask import Flask
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from dataflow.flow.load import loads
from dataflow.flow.spec import Flow
from dataflow.message import Codec
from dataflow.process import dies_with_parent
from dataflow.settings import Settings, read_settings
from dataflow.store.declare import apply
from dataflow.store.keys import Keys
from dataflow.store.redis import Client, call, connect
from dataflow.up.ports import free_port
from message_hub.app import create_app
from message_hub.live_net import LiveNet
from message_hub.net import Net

FLOW = """
flow: tests
connections:
  main: {redis: "REDIS_URL"}
  warehouse: {clickhouse: embedded}
hub: {port: HUB_PORT}
streams:
  meter.stream_in:
    max_len: 100
    accepts: {task_for: meter, function_type: score}
    schema: {rec_id: str, n: int, flow: float?, ts: datetime?, ok: bool?}
  free.stream_in: {max_len: 5000, accepts: {task_for: free, function_type: any}}
  meter.stream_out: {schema: {rec_id: str, score: float}}
  free.stream_out: {schema: {rec_id: str}}
workers:
  score: {from: meter.stream_in, to: meter.stream_out, handler: "steps:handle"}
  pass: {from: free.stream_in, to: free.stream_out, handler: "steps:handle"}
edges:
  archive: {kind: s2ch, from: meter.stream_out, to: warehouse.scores, create_table: true}
  keep: {kind: s2ch, from: free.stream_out, to: warehouse.kept, create_table: true}
"""


def flow_text(redis_url: str, hub_port: int = 1) -> str:
    """The flow file of these tests."""
    return FLOW.replace("REDIS_URL", redis_url).replace("HUB_PORT", str(hub_port))


def message(n: int = 0, **fields: Any) -> dict[str, Any]:
    """A message for meter.stream_in."""
    return {"rec_id": f"r{n}", "task_for": "meter", "function_type": "score", "n": n, **fields}


def free_message(n: int = 0, **fields: Any) -> dict[str, Any]:
    """A message for free.stream_in."""
    return {"rec_id": f"r{n}", "task_for": "free", "function_type": "any", **fields}


CHECKOUT = Path(__file__).resolve().parents[2]


class Hub:
    """The application in this process, on a real Redis in which the flow is applied.

    Args:
        url: of an empty Redis.
        environ: settings.
    """

    def __init__(self, url: str, environ: Mapping[str, str] | None = None) -> None:
        self.settings: Settings = read_settings(environ or {})
        self.flow: Flow = loads(flow_text(url))
        self.redis: Client = connect(url)
        self.keys = Keys(self.flow.name)
        apply(self.flow, self.redis)
        self.net = Net(self.flow, {"main": self.redis})
        self.app: Flask = create_app(LiveNet(lambda: self.net), self.settings)
        self.client: FlaskClient = self.app.test_client()

    def post(self, body: Any, path: str = "/message_hub/", **headers: str) -> TestResponse:
        """POST a JSON value, or bytes as they are."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        if isinstance(body, bytes):
            return self.client.post(path, data=body, headers={"Content-Type": "application/json", **named})
        return self.client.post(path, json=body, headers=named)

    def depth(self, stream: str = "meter.stream_in") -> int:
        """Entries of a stream."""
        return int(call(self.redis, "XLEN", self.keys.stream(stream).stream))

    def stored(self) -> int:
        """Entries of all streams."""
        return sum(self.depth(name) for name in self.flow.streams)

    def entries(self, stream: str = "meter.stream_in") -> list[list[bytes]]:
        """The fields of every entry of a stream."""
        return [fields for _, fields in call(self.redis, "XRANGE", self.keys.stream(stream).stream, "-", "+")]

    def messages(self, stream: str = "meter.stream_in") -> list[dict[str, Any]]:
        """The messages of a stream, as a handler gets them."""
        codec = Codec(self.flow.streams[stream].schema)
        return [codec.decode(fields).message for fields in self.entries(stream)]


class HubProcess:
    """`dataflow hub` as a process of its own, as a context manager. Enter it in the main thread.

    Args:
        folder: where the flow file is written; also the current folder.
        redis_url: of its Redis.
        workers, threads: of gunicorn.
        environ: beside PATH.
    """

    def __init__(
        self, folder: Path, redis_url: str, workers: int = 2, threads: int = 4, environ: Mapping[str, str] | None = None
    ) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.path = folder / "flow.yml"
        self.path.write_text(flow_text(redis_url, self.port), encoding="utf-8")
        self._environ = dict(environ or {})
        self._arguments = ["--workers", str(workers), "--threads", str(threads)]
        self.process: subprocess.Popen[bytes] | None = None
        self._log = folder.with_name(f"{folder.name}.hub.log")  # outside: a test may replace the folder

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.end(signal.SIGKILL)

    @property
    def log(self) -> str:
        """What it has written to stderr."""
        return self._log.read_text(encoding="utf-8")

    @property
    def pid(self) -> int:
        """Of its first process."""
        assert self.process is not None
        return self.process.pid

    def start(self) -> None:
        """Start it and wait until it is ready."""
        command = [sys.executable, "-P", "-m", "dataflow", "hub", str(self.path), *self._arguments]
        with self._log.open("ab") as log:
            self.process = subprocess.Popen(
                command,
                cwd=self.path.parent,
                env={"PATH": "/usr/bin:/bin", "PYTHONPATH": str(CHECKOUT), **self._environ},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                preexec_fn=dies_with_parent(signal.SIGKILL),
            )
        wait_for(self.is_ready, lambda: f"the hub is not ready:\n{self.log}")

    def is_ready(self) -> bool:
        """Whether it says so."""
        try:
            return httpx.get(f"{self.url}/readyz", timeout=2, trust_env=False).status_code == 200
        except httpx.HTTPError:
            return False

    def end(self, signum: signal.Signals) -> int:
        """Signal its first process, wait for the end, return the exit code."""
        process, self.process = self.process, None
        if process is None:
            return 0
        process.send_signal(signum)
        return process.wait(timeout=30)


def wait_for(done: Any, text: Any, timeout_s: float = 20.0) -> None:
    """Poll until done() is true; fail with text() after the deadline."""
    deadline = time.monotonic() + timeout_s
    while not done():
        assert time.monotonic() < deadline, text()
        time.sleep(0.02)
