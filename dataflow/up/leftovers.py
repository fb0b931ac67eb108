"""Processes that an `up` left behind: those that did not end although their parent was killed.

Every process below an `up` carries the path of its data folder in its environment. That, read from /proc, tells
ours from any other process; a pid in a file could not.
"""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

from dataflow.errors import UserError
from dataflow.process import ProcessId
from dataflow.up.child import FOLDER_VARIABLE


class StillRunning(UserError):
    """Processes of an earlier run cannot be ended."""


def find(folder: Path) -> list[ProcessId]:
    """Every live process that some `up` of this data folder has started, directly or not, but this one."""
    mark = f"{FOLDER_VARIABLE}={folder}".encode()
    pids = [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()]
    ours = [ProcessId.of(pid) for pid in pids if pid != os.getpid() and mark in _environment(pid)]
    return [process for process in ours if process is not None]


def end(folder: Path, patience_s: float) -> list[ProcessId]:
    """End all of them and return who they were: SIGTERM, `patience_s` seconds, then SIGKILL. Blocks until none lives.

    Call it with the folder's lock held, before anything is started. Raises StillRunning if the kernel cannot end
    them either (a process that waits for a disk).
    """
    found = find(folder)
    if _ended(folder, signal.SIGTERM, patience_s) or _ended(folder, signal.SIGKILL, patience_s):
        return found
    raise StillRunning(f"processes of an earlier run cannot be ended: {[process.pid for process in find(folder)]}")


def _ended(folder: Path, signum: signal.Signals, patience_s: float) -> bool:
    """Signal all of them and wait; whether none is left. Looks again each time: they may start others meanwhile."""
    signalled: set[ProcessId] = set()
    deadline = time.monotonic() + patience_s
    while left := set(find(folder)):
        if time.monotonic() > deadline:
            return False
        for process in left - signalled:
            process.send(signum)
        signalled |= left
        time.sleep(0.05)
    return True


def _environment(pid: int) -> list[bytes]:
    try:
        return Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    except (FileNotFoundError, PermissionError, ProcessLookupError):
        return []
