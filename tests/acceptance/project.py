"""A flow of a user's own in a folder of the user's own, run by the real commands."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from dataflow import run_file, warehouse
from dataflow.connections import resolve
from dataflow.flow.load import load
from dataflow.run_file import RunFile

FLOW = """
flow: kills
streams:
  meter.stream_in:
    accepts: {task_for: t, function_type: f}
    schema: {rec_id: str, task_for: str, function_type: str, n: int}
  meter.stream_out:
    schema: {rec_id: str, twice: int}
workers:
  double: {from: meter.stream_in, to: meter.stream_out, handler: "steps:double", processes: 2, batch: 50, lease_s: 2}
edges:
  archive: {kind: s2ch, from: meter.stream_out, to: warehouse.doubled, create_table: true, lease_s: 2, batch: 200}
"""
STEPS = """
import time

def double(message):
    time.sleep(0.001)
    return {"rec_id": message["rec_id"], "twice": message["n"] * 2}
"""


class Project:
    """A folder with a flow file and a module of steps, and a folder `workers/` that has nothing to do with ours."""

    def __init__(self, folder: Path, flow: str = FLOW, steps: str = STEPS) -> None:
        self.folder = folder
        self.flow = folder / "flow.yml"
        self.flow.write_text(flow)
        (folder / "steps.py").write_text(steps)
        (folder / "workers").mkdir()
        (folder / "workers" / "__init__.py").write_text("raise RuntimeError('the wrong workers were imported')\n")

    def command(self, *arguments: str, timeout_s: float = 90) -> subprocess.CompletedProcess[str]:
        """Run `dataflow ...` in the folder and wait."""
        return command(self.folder, *arguments, timeout_s=timeout_s)

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        """Run `dataflow ...` in the folder and let it run; its output can be read at its end."""
        return subprocess.Popen(
            [sys.executable, "-P", "-m", "dataflow", *arguments],
            cwd=self.folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment(),
        )  # fmt: skip

    def up(self) -> None:
        """`dataflow up -d`, which returns when everything is ready."""
        done = self.command("up", "-d", "--hub-port", "0")
        assert done.returncode == 0, done.stdout + done.stderr + self.logs()

    def down(self) -> None:
        """`dataflow down`."""
        self.command("down")

    @property
    def run(self) -> RunFile:
        """What the running `up` tells."""
        run = run_file.read(self.folder / ".dataflow")
        assert run is not None
        return run

    def pid(self, child: str) -> int | None:
        """The process of a child of `up`, None while it has none."""
        record = self.run.children[child]
        return record.process.pid if record.process is not None and record.process.alive else None

    def rows(self, sql: str) -> list[dict[str, Any]]:
        """Ask the warehouse."""
        return warehouse.connect(resolve(load(self.flow)).warehouse["warehouse"]).rows(sql)

    def audit(self) -> Mapping[str, Any]:
        """`dataflow audit --json`; asserts that it is clean."""
        done = self.command("audit", "--json")
        assert done.returncode == 0, done.stdout + done.stderr
        result: Mapping[str, Any] = json.loads(done.stdout)
        return result

    def logs(self) -> str:
        """The end of every log, for the message of a failed test."""
        parts = [
            f"--- {path.name}\n{path.read_text()[-3000:]}" for path in (self.folder / ".dataflow/logs").glob("*.log")
        ]
        return "\n".join(parts)


def command(
    folder: Path, *arguments: str, timeout_s: float = 90, stdin: str | None = None
) -> subprocess.CompletedProcess[str]:
    """Run `dataflow ...` in a folder and wait."""
    return subprocess.run(
        [sys.executable, "-P", "-m", "dataflow", *arguments],
        cwd=folder, input=stdin, capture_output=True, text=True, timeout=timeout_s, env=environment(), check=False,
    )  # fmt: skip


def eventually(what: str, holds: Callable[[], bool], timeout_s: float = 60.0) -> None:
    """Wait until something holds; fail with its name if it does not."""
    deadline = time.monotonic() + timeout_s
    while not holds():
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {timeout_s} s: {what}")
        time.sleep(0.1)


def environment() -> dict[str, str]:
    """Without the addresses of servers of whoever runs the tests."""
    ours = {"DATAFLOW_REDIS_URL", "DATAFLOW_CLICKHOUSE_URL", "DATAFLOW_MONGO_URL", "DATAFLOW_DATA_DIR"}
    return {name: value for name, value in os.environ.items() if name not in ours}
