"""`dataflow up -d` and `dataflow down`: an `up` without a terminal, found again through the lock of its folder."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from dataflow import run_file
from dataflow.errors import DataflowError, ServerAway
from dataflow.process import ProcessId
from dataflow.run_file import RunFile
from dataflow.up.child import rotate
from dataflow.up.folder import DataFolder

LOG_NAME = "up.log"

_POLL_S = 0.05


class DidNotStart(DataflowError):
    """`dataflow up` ended before everything was up."""


def start(folder: DataFolder, arguments: Sequence[str], timeout_s: float) -> RunFile:
    """Run `dataflow <arguments>`, an `up`, in the background and wait until everything is up. Returns its run file.

    Raises AlreadyRunning; DidNotStart with what it said, when it ended; ServerAway after `timeout_s`, naming what is
    not ready: it is left running then.
    """
    folder.create()
    with folder.locked():
        log = folder.logs / LOG_NAME
        rotate(log)
        begins_at = log.stat().st_size if log.exists() else 0
    process = _spawn([sys.executable, "-P", "-m", "dataflow", *arguments], log)
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        run = run_file.read(folder.path)
        if run is not None and run.ready and run.up.pid == process.pid:
            return run
        if process.poll() is not None:
            raise DidNotStart(_said(log, begins_at))
        time.sleep(_POLL_S)
    raise ServerAway(f"not everything is up after {timeout_s:g} s; it goes on trying. {_not_ready(folder)}")


def stop(folder: DataFolder, timeout_s: float) -> ProcessId | None:
    """Stop the `up` that runs in a folder and wait for its end. Returns who it was, None if nothing ran.

    After `timeout_s` it is asked to stop at once, and a few seconds later killed; its children end with it.
    """
    if not folder.is_locked():
        return None
    process = _holder(folder)
    for signum, patience_s in ((signal.SIGTERM, timeout_s), (signal.SIGTERM, 15.0), (signal.SIGKILL, 15.0)):
        process.send(signum)
        if _released(folder, patience_s):
            return process
    raise DataflowError(f"process {process.pid} does not end, not even by SIGKILL: is it waiting for a disk?")


def _spawn(command: Sequence[str], log: Path) -> subprocess.Popen[bytes]:
    with log.open("ab") as out:
        return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=out, stderr=out, start_new_session=True)


def _said(log: Path, begins_at: int) -> str:
    with log.open("rb") as file:
        file.seek(begins_at)
        text = file.read().decode(errors="replace").strip()
    return f"`dataflow up` ended:\n{text}\n(from {log})"


def _not_ready(folder: DataFolder) -> str:
    run = run_file.read(folder.path)
    late = [(n, c) for n, c in run.children.items() if c.state != "running"] if run else []
    names = [f"{name} is {child.state}" + (f" ({child.reason})" if child.reason else "") for name, child in late]
    return f"{'; '.join(names) or 'Nothing was started'}. Logs: {folder.logs}. `dataflow down` stops it."


def _holder(folder: DataFolder) -> ProcessId:
    """Who holds the lock; waits a moment for one that has only just taken it."""
    deadline = time.monotonic() + 2.0
    while (process := folder.holder()) is None:
        if time.monotonic() > deadline:
            raise DataflowError(f"{folder.path} is locked, but by no process that can be found here")
        time.sleep(_POLL_S)
    return process


def _released(folder: DataFolder, patience_s: float) -> bool:
    deadline = time.monotonic() + patience_s
    while folder.is_locked():
        if time.monotonic() > deadline:
            return False
        time.sleep(_POLL_S)
    return True
