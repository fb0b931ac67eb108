"""A user's project: a folder with a flow file and handlers, and its worker run as the command `dataflow worker`."""

from __future__ import annotations

import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from dataflow.process import dies_with_parent
from dataflow.store.redis import call
from tests.workers.rig import IN, NAME, Rig

HEAD = """
import os, signal, sys, time
from pathlib import Path
HERE = Path(__file__).parent

def note(n, file="calls"):
    with open(HERE / file, "a") as calls:
        calls.write(f"{n}\\n")

def noted(file="calls"):
    return (HERE / file).read_text().split() if (HERE / file).exists() else []
"""


def eventually(condition: Callable[[], object], what: str = "", deadline_s: float = 30.0) -> float:
    """Wait until something is so. Gives the seconds that it took."""
    start = time.monotonic()
    while not condition():
        assert time.monotonic() - start < deadline_s, f"not within {deadline_s} s: {what or condition}"
        time.sleep(0.005)
    return time.monotonic() - start


def alive(pid: int) -> bool:
    """Whether a process runs; a zombie does not."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state not in "ZX"


class WorkerProcess:
    """`python -m dataflow worker flow.yml work`, run in the project's folder."""

    def __init__(self, folder: Path, arguments: Sequence[str] = (), name: str = NAME) -> None:
        self._log = folder / f"stderr.{time.monotonic_ns()}"
        with self._log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "dataflow", "worker", "flow.yml", name, *arguments],
                cwd=folder,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=log,
                start_new_session=True,
                preexec_fn=dies_with_parent(signal.SIGKILL),
            )

    @property
    def stderr(self) -> str:
        """What it has said so far."""
        return self._log.read_text(errors="replace")

    @property
    def children(self) -> list[int]:
        """Process ids of its children."""
        pid = self.process.pid
        try:
            return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
        except FileNotFoundError:
            return []

    def signal(self, number: signal.Signals = signal.SIGTERM) -> None:
        """Send a signal to the parent."""
        self.process.send_signal(number)

    def wait(self, deadline_s: float = 30.0) -> int:
        """The exit code, once it has ended."""
        return self.process.wait(deadline_s)

    def stop(self) -> int:
        """End it in an orderly way."""
        self.signal()
        return self.wait()

    def kill(self) -> None:
        """kill -9 of the parent alone."""
        self.process.kill()
        self.process.wait()

    def close(self) -> None:
        """Whatever it does, it ends here."""
        if self.process.poll() is None:
            self.kill()
        if self.process.stdout:
            self.process.stdout.close()


class Project:
    """The folder, its flow on Redis, and the processes that a test has started."""

    def __init__(self, folder: Path, url: str, source: str, **rig: object) -> None:
        self.folder = folder
        self.path = folder / "flow.yml"
        self.rig = Rig(url, path=self.path, **rig)  # type: ignore[arg-type]
        self.path.write_text(self.rig.text)
        self.steps(source)
        self._started: list[WorkerProcess] = []

    def steps(self, source: str) -> None:
        """Write the handlers, with `note` and `noted` at hand."""
        (self.folder / "steps.py").write_text(HEAD + textwrap.dedent(source))

    def start(self, *arguments: str, name: str = NAME) -> WorkerProcess:
        """Start a worker."""
        self._started.append(WorkerProcess(self.folder, arguments, name))
        return self._started[-1]

    def noted(self, file: str = "calls") -> list[str]:
        """What the handlers noted, in order."""
        path = self.folder / file
        return path.read_text().split() if path.exists() else []

    def drained(self) -> bool:
        """Whether the worker has nothing left to do."""
        return self.rig.drained()

    def finish(self, deadline_s: float = 30.0) -> None:
        """Wait until nothing is left to do."""
        eventually(self.drained, "all is done", deadline_s)

    def once(self, numbers: Sequence[int]) -> None:
        """Each of these has arrived, once, and nothing else."""
        found = self.rig.out()
        assert sorted(found) == sorted(numbers), (len(found), len(set(found)), len(numbers))

    def consumers(self) -> list[str]:
        """The consumers that Redis knows."""
        rows = call(self.rig.redis, "XINFO", "CONSUMERS", self.rig.keys.stream(IN).stream, NAME)
        return [row[1].decode() for row in rows]

    def crashes(self) -> int:
        """How many entries were begun alone and not finished."""
        return int(call(self.rig.redis, "HLEN", self.rig.keys.attempts(IN, NAME)))

    def close(self) -> None:
        """End what runs and check the books."""
        for worker in self._started:
            if worker.process.poll() is None:
                worker.signal(signal.SIGCONT)
                worker.stop()
            worker.close()
        self.rig.check()
        self.rig.close()
