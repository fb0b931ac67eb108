"""A user's folder with a flow between two Redis servers and into a table, with its processes: sync and its API."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import httpx

from dataflow.flow.load import load
from dataflow.flow.spec import Flow
from dataflow.message import Codec, meta
from dataflow.store.door import Door, Outgoing
from dataflow.store.keys import Keys
from dataflow.store.live import live
from dataflow.store.redis import Client, call, connect
from dataflow.up.ports import free_port
from tests.sync.lab import until

SOURCE = "BUFF.andy.test0.stream_out"
TARGET = "BUFF.andy.test1.stream_in"
AGENT = "http://172.17.0.1:24118/"

FLOW = """
flow: buff
sync: {{port: {port}}}
connections:
  near: {{redis: "{near}", aliases: ["http://172.17.0.1:24118/"]}}
  far: {{redis: "{far}", aliases: ["http://172.17.0.1:24118", "far-hash"]}}
  store: {{clickhouse: "{clickhouse}", aliases: ["172.17.0.1:19000"]}}
streams:
  BUFF.andy.test0.stream_out: {{on: near, schema: {{msg_id: int, data: str}}}}
  BUFF.andy.test1.stream_in: {{on: far, keep: {{messages: 100000}}, schema: {{msg_id: int, data: str}}}}
  bills.stream_out: {{on: near, schema: {{id: int, name: str}}}}
edges:
  onward:
    kind: s2s
    from: BUFF.andy.test0.stream_out
    to: BUFF.andy.test1.stream_in
    task: external
  archive:
    kind: s2ch
    from: bills.stream_out
    to: store.{table}
    create_table: true
    columns: [id, name]
    task: external
"""


class Site:
    """The folder and everything in it.

    Args:
        folder: an empty one.
        near, far: URLs of two Redis servers.
        clickhouse: URL of the ClickHouse server.
        table: where bills go.
    """

    def __init__(
        self, folder: Path, near: str, far: str, clickhouse: str = "clickhouse://127.0.0.1:9", table: str = "bills"
    ) -> None:
        self.path = folder / "flow.yml"
        self.port = free_port()
        self.path.write_text(FLOW.format(port=self.port, near=near, far=far, clickhouse=clickhouse, table=table))
        (folder / "sync").mkdir()
        (folder / "sync" / "__init__.py").write_text("raise RuntimeError('the wrong sync was imported')\n")
        self.near: Client = connect(near)
        self.far: Client = connect(far)
        self.keys = Keys("buff")
        self.http = httpx.Client(base_url=f"http://127.0.0.1:{self.port}", timeout=60, trust_env=False)

    @property
    def flow(self) -> Flow:
        """As its file says."""
        return load(self.path)

    def close(self) -> None:
        """Let go of the servers."""
        self.near.close()
        self.far.close()
        self.http.close()

    def command(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run `dataflow ... flow.yml` and wait."""
        return subprocess.run(
            [sys.executable, "-P", "-m", "dataflow", *arguments, str(self.path)],
            cwd=self.path.parent, capture_output=True, text=True, timeout=120, check=False,
        )  # fmt: skip

    def fill(self, stream: str, count: int) -> None:
        """Append messages as the hub would."""
        schema = self.flow.streams[stream].schema
        names = list(schema or {})
        rows = [
            meta(f"m{n}", "hub@1") + Codec(schema).encode({names[0]: n, names[1]: f"text {n}"}) for n in range(count)
        ]
        for first in range(0, count, 500):
            Door(self.near, self.keys).append([Outgoing(stream, row) for row in rows[first : first + 500]])

    def length(self, redis: Client, stream: str) -> int:
        """Entries of a stream."""
        return int(call(redis, "XLEN", self.keys.stream(stream).stream))

    def arrived(self) -> list[int]:
        """The `msg_id`s at the target, in order."""
        entries = call(self.far, "XRANGE", self.keys.stream(TARGET).stream, "-", "+")
        return [int(fields[fields.index(b"msg_id") + 1]) for _, fields in entries]

    @contextmanager
    def running(self, *commands: str) -> Iterator[list[subprocess.Popen[str]]]:
        """Run `dataflow <command> flow.yml` of each, ready, and end them afterwards."""
        with ExitStack() as stack:
            processes = [self._start(command) for command in commands]
            for process in processes:
                stack.callback(_end, process)
            until(lambda: all(self._ready(command) for command in commands) or _ended(processes), 60)
            assert not _ended(processes), [one.communicate()[1] for one in processes if one.poll() is not None]
            yield processes

    def _start(self, command: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-P", "-m", "dataflow", command, str(self.path)],
            cwd=self.path.parent, stderr=subprocess.PIPE, text=True, start_new_session=True,
        )  # fmt: skip

    def _ready(self, command: str) -> bool:
        if command == "sync":
            return bool(live(self.near, self.keys))
        try:
            return self.http.get("/readyz").status_code == 200
        except httpx.TransportError:
            return False


def body_s2s(**more: Any) -> dict[str, Any]:
    """What the users of the older interface send, as they send it."""
    return {
        "target_q_max_len": 100000,
        "source_read_batch_num": 10,
        "target_write_batch_num": 10,
        "source_redis_agent_host": AGENT,
        "source_connection_hash": None,
        "target_redis_agent_host": AGENT,
        "target_connection_hash": None,
        "source_stream": SOURCE,
        "target_stream": TARGET,
        "max_exec_cnt": 10,
        **more,
    }


def body_s2ch(table: str = "bills", **more: Any) -> dict[str, Any]:
    """The same for a table."""
    return {
        "source_read_batch_num": 100,
        "source_redis_agent_host": AGENT,
        "source_connection_hash": None,
        "source_stream": "bills.stream_out",
        "max_exec_cnt": 100,
        "target_ch_host": "172.17.0.1",
        "target_ch_port": 19000,
        "target_ch_database": "default",
        "target_ch_user": "default",
        "target_ch_insert_cols": ["id", "name"],
        "target_ch_insert_pid_name": "id",
        "target_ch_insert2table_name": table,
        **more,
    }


def _ended(processes: list[subprocess.Popen[str]]) -> bool:
    return any(process.poll() is not None for process in processes)


def _end(process: subprocess.Popen[str]) -> None:
    process.kill()
    process.wait()
    assert process.stderr is not None
    process.stderr.close()
