"""The flow that chaos is done to: in a folder of its own, run by `dataflow up`, with a ClickHouse server beside it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from dataflow import run_file
from dataflow.process import ProcessId, dies_with_parent
from dataflow.run_file import RunFile
from dataflow.testing.servers import ClickHouseServer
from dataflow.up import leftovers
from dataflow.up.folder import DataFolder
from dataflow.up.ports import free_port

FLOW = """
# Two workers, an edge between streams, and two tables: one filled all the time, one by the scheduler's ticks.
flow: chaos
connections:
  main: {{redis: embedded}}
  warehouse: {{clickhouse: "{clickhouse}"}}
  tasks: {{mongo: embedded}}
streams:
  gauge.stream_in:
    accepts: {{task_for: chaos, function_type: double}}
    max_len: 20000
    schema: {{rec_id: str, task_for: str, function_type: str, client: int, n: int, note: str}}
  gauge.stream_out:
    max_len: 20000
    schema: {{client: int, n: int, note: str, twice: int}}
  grade.stream_in:
    max_len: 20000
    schema: {{client: int, n: int, note: str, twice: int}}
  grade.stream_out:
    max_len: 20000
    schema: {{client: int, n: int, note: str, grade: int}}
workers:
  double:
    {{from: gauge.stream_in, to: gauge.stream_out, handler: "steps:double", processes: 2, batch: 50, lease_s: 3}}
  score:
    {{from: grade.stream_in, to: grade.stream_out, handler: "steps:Score", processes: 2, batch: 50, lease_s: 3}}
edges:
  forward: {{kind: s2s, from: gauge.stream_out, to: grade.stream_in, batch: 200, lease_s: 3}}
  ticked:
    {{kind: s2ch, from: gauge.stream_out, to: warehouse.doubled, create_table: true, batch: 500, lease_s: 3,
      task: {{second: "*/2"}}}}
  graded: {{kind: s2ch, from: grade.stream_out, to: warehouse.graded, create_table: true, batch: 200, lease_s: 3}}
"""
STEPS = '''
"""One handler per message and one per batch; both refuse some messages for good."""

from dataflow.handler import Reject

def kept(message, name, value):
    return {"client": message["client"], "n": message["n"], "note": message["note"], name: value}

def double(message):
    if message["n"] % 97 == 5:
        raise Reject("every 97th message is refused by the first worker")
    return kept(message, "twice", 2 * message["n"])

class Score:
    def handle(self, message):
        if message["n"] % 101 == 7:
            raise Reject("every 101st message is refused by the second worker")
        return kept(message, "grade", message["twice"] % 10)
'''
TABLES = {"doubled": ("gauge.stream_out", "ticked"), "graded": ("grade.stream_out", "graded")}
"""Table -> the stream it is filled from, and the edge."""
UPSTREAM = {
    "doubled": frozenset({"double", "ticked"}),
    "graded": frozenset({"double", "forward", "score", "graded"}),
}
"""Table -> the readers that a message passes on its way there."""

SECONDS = {"sync#2": "sync", "scheduler#2": "scheduler"}
"""What runs twice, as it would on a second machine: both want every edge, and every tick."""

_DOWN_S = 180.0


class Project:
    """A folder with the flow, and what runs there. For one thread: processes end with the thread that started them.

    Args:
        folder: an existing, empty folder.
        clickhouse: a running server; None: the embedded warehouse.
    """

    def __init__(self, folder: Path, clickhouse: ClickHouseServer | None) -> None:
        self.folder = folder
        self.clickhouse = clickhouse
        self.flow_path = folder / "flow.yml"
        self.flow_path.write_text(FLOW.format(clickhouse=clickhouse.url if clickhouse else "embedded"))
        (folder / "steps.py").write_text(STEPS)
        self._data = DataFolder.of(self.flow_path)
        self._starting: subprocess.Popen[bytes] | None = None
        self._seconds: dict[str, subprocess.Popen[bytes]] = {}
        self._log = (folder / "chaos.log").open("ab")

    @property
    def run(self) -> RunFile | None:
        """What the running `up` tells, None while there is none."""
        run = run_file.read(self._data.path)
        return run if run is not None and run.in_force else None

    @property
    def hub_url(self) -> str:
        """Where the hub is, or was last."""
        run = run_file.read(self._data.path)
        return run.hub if run is not None else "http://127.0.0.1:9"

    @property
    def ready(self) -> bool:
        """Whether every process does its work."""
        run = self.run
        return run is not None and run.ready and all(child.state == "running" for child in run.children.values())

    def keep_up(self) -> None:
        """Start `dataflow up` and what runs beside it where they do not run. Does not wait; call it again and again."""
        if not self._data.is_locked() and (self._starting is None or self._starting.poll() is not None):
            self._starting = self._command("up", "-d", "--hub-port", "0")
        if self.clickhouse is not None and self.run is not None:  # an embedded warehouse has one owner
            for name, command in SECONDS.items():
                self._keep_second(name, command)

    def down(self) -> None:
        """Stop everything and wait for it, ClickHouse not included. The folder stays."""
        for second in self._seconds.values():
            second.kill()
            second.wait()
        if self._starting is not None:
            self._starting.wait(_DOWN_S)
        self._command("down").wait(_DOWN_S)
        self._log.close()

    def audit(self) -> subprocess.CompletedProcess[str]:
        """`dataflow audit --problems`, waited for."""
        return subprocess.run(
            [sys.executable, "-P", "-m", "dataflow", "audit", "--problems"],
            cwd=self.folder, capture_output=True, text=True, timeout=_DOWN_S, env=_environment(), check=False,
        )  # fmt: skip

    def victim(self, name: str, pick: float) -> ProcessId | None:
        """A process by its name in `acts.WEIGHTS`, None while it has none. `pick` chooses among several children."""
        run = self.run
        if run is None:
            return None
        if name == "up":
            return run.up
        if name in SECONDS:
            second = self._seconds.get(name)
            return ProcessId.of(second.pid) if second is not None and second.poll() is None else None
        parent, _, below = name.partition("/")
        record = run.children.get(parent)
        process = record.process if record is not None else None
        if process is None or not process.alive:
            return None
        if not below:
            return process
        children = self._children(process.pid)
        return children[int(pick * len(children))] if children else None

    def _children(self, parent: int) -> list[ProcessId]:
        """Processes of the flow that this one has started, the oldest first."""
        return [process for process in leftovers.find(self._data.path) if _parent_of(process.pid) == parent]

    def _keep_second(self, name: str, command: str) -> None:
        running = self._seconds.get(name)
        if running is not None and running.poll() is None:
            return
        port = ["--port", str(free_port())] if name.startswith("scheduler") else []
        self._seconds[name] = self._command(command, "flow.yml", *port, preexec_fn=dies_with_parent())

    def _command(self, *arguments: str, preexec_fn: Callable[[], None] | None = None) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [sys.executable, "-P", "-m", "dataflow", *arguments],
            cwd=self.folder, stdin=subprocess.DEVNULL, stdout=self._log, stderr=self._log, env=_environment(),
            preexec_fn=preexec_fn,
        )  # fmt: skip


def _parent_of(pid: int) -> int:
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return 0
    return int(text.rpartition(")")[2].split()[1])


def _environment() -> dict[str, str]:
    """Ours, without what would lead the flow to servers and folders other than its own."""
    return {name: value for name, value in os.environ.items() if not name.startswith("DATAFLOW_")}
