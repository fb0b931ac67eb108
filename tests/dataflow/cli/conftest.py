"""A flow on a real Redis, with the commands run in its folder."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from werkzeug.serving import make_server

from dataflow.cli import run
from dataflow.flow.load import load
from dataflow.settings import read_settings
from dataflow.store.door import Outgoing
from dataflow.store.redis import Client, connect
from message_hub.app import create_app
from message_hub.live_net import LiveNet
from message_hub.net import Net
from tests.dataflow.store.stores import RealStore

TEXT = """
flow: net
connections:
  main: {redis: "${DATAFLOW_REDIS_URL:embedded}"}
  warehouse: {clickhouse: embedded}
streams:
  a.stream_in:
    max_len: 2000
    accepts: {task_for: t, function_type: f}
    schema: {rec_id: str, n: int, x: {type: float, nullable: true}}
  b.stream_out: {max_len: 30, schema: {n: int}}
  c.stream_out: {max_len: 30, schema: {n: int}}
  d.stream_in: {keep: {messages: 1000}}
workers:
  one: {from: a.stream_in, to: [b.stream_out, c.stream_out], handler: "steps:one", batch: 10}
  two: {from: a.stream_in, to: c.stream_out, handler: "steps:two", batch: 10}
edges:
  copy: {kind: s2s, from: c.stream_out, to: d.stream_in, batch: 10}
  archive: {kind: s2ch, from: b.stream_out, to: warehouse.scores, create_table: true}
"""


@dataclass(frozen=True)
class Answer:
    """What a command printed, and its exit code."""

    out: str
    err: str
    code: int

    @property
    def json(self) -> Any:
        return json.loads(self.out)

    @property
    def lines(self) -> list[Any]:
        return [json.loads(line) for line in self.out.splitlines()]


@dataclass
class Site:
    """The folder of a flow."""

    folder: Path
    client: Client
    capsys: pytest.CaptureFixture[str]
    store: RealStore = field(init=False)

    def __post_init__(self) -> None:
        self.store = RealStore(self.client, load(self.folder / "flow.yml"))

    def run(self, *words: str) -> Answer:
        """Run a command as from a shell in the folder."""
        self.capsys.readouterr()
        code = run(words)
        printed = self.capsys.readouterr()
        return Answer(printed.out, printed.err, code)

    def change(self, old: str, new: str) -> None:
        """Edit the flow file."""
        path = self.folder / "flow.yml"
        text = path.read_text()
        assert old in text
        path.write_text(text.replace(old, new))

    def put(self, *numbers: int) -> None:
        """Append messages to a.stream_in."""
        self.store.door().append([entry(n) for n in numbers])


def entry(n: int) -> Outgoing:
    """A message as the hub would append it."""
    number = str(n).encode()
    own = [b"_mid", b"m" + number, b"_path", b"hub@1"]
    return Outgoing("a.stream_in", [*own, b"rec_id", b"r" + number, b"n", number, b"_null", b'["x"]'])


@pytest.fixture
def site(
    tmp_path: Path, redis_url: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Iterator[Site]:
    """A folder with a flow file, and an empty Redis."""
    (tmp_path / "flow.yml").write_text(TEXT)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DATAFLOW_REDIS_URL", redis_url)
    client = connect(redis_url)
    yield Site(tmp_path, client, capsys)
    client.close()


@pytest.fixture
def hub(site: Site, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Address of a real hub of the applied flow."""
    monkeypatch.setattr("werkzeug.serving.WSGIRequestHandler.log", lambda *_: None)
    site.store.apply()
    settings = read_settings({})
    live = LiveNet(lambda: Net.of(load(site.folder / "flow.yml"), settings.redis_timeout_s))
    server = make_server("127.0.0.1", 0, create_app(live, settings), threaded=True)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()
