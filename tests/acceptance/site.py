"""A flow whose processes are started one by one against servers of their own, as on a machine without `dataflow up`."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from dataflow.flow.spec import Flow
from dataflow.process import dies_with_parent
from dataflow.store.keys import Keys
from dataflow.up.readiness import Ready, beats, door_answers

READY_S = 40.0


class Process:
    """One `dataflow ...` in the folder of a flow, with a log; started again as often as one likes.

    Args:
        folder: where it runs.
        name: what the test calls it, and its log.
        arguments: after `dataflow`.
        ready: how to see that it does its work.
        environment: variables beside ours.
    """

    def __init__(
        self, folder: Path, name: str, arguments: tuple[str, ...], ready: Ready, environment: Mapping[str, str]
    ) -> None:
        self.name = name
        self._folder = folder
        self._arguments = arguments
        self._ready = ready
        self._environment = dict(environment)
        self._popen: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """Of the running process."""
        assert self._popen is not None, f"{self.name} does not run"
        return self._popen.pid

    @property
    def is_ready(self) -> bool:
        """Whether it does its work."""
        return self._popen is not None and self._ready(self._popen.pid)

    def start(self) -> None:
        """Start it. Does not wait."""
        with (self._folder / f"{self.name}.log").open("ab") as log:
            self._popen = subprocess.Popen(
                [sys.executable, "-P", "-m", "dataflow", *self._arguments],
                cwd=self._folder, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
                preexec_fn=dies_with_parent(signal.SIGKILL), env={**os.environ, **self._environment},
            )  # fmt: skip

    def kill(self) -> None:
        """kill -9 of the process itself. What it has started must see to its own end."""
        if self._popen is not None:
            self._popen.kill()
            self._popen.wait()
            self._popen = None


def door(folder: Path, name: str, arguments: tuple[str, ...], port: int, environment: Mapping[str, str]) -> Process:
    """A process with an HTTP API."""
    url = f"http://127.0.0.1:{port}"
    return Process(folder, name, (*arguments, "--port", str(port)), door_answers(url), environment)


def runner(
    folder: Path, name: str, arguments: tuple[str, ...], redis_url: str, flow: Flow, environment: Mapping[str, str]
) -> Process:
    """A worker or a sync process: it beats."""
    kind, step = arguments[0], arguments[-1] if arguments[0] == "worker" else arguments[0]
    return Process(folder, name, arguments, beats(lambda: redis_url, Keys(flow.name), kind, step), environment)
