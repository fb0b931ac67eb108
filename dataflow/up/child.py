"""One child process of `up`: its command, its log, its life."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from dataflow.process import ProcessId, dies_with_parent
from dataflow.up.last_words import last_words

LOG_BYTES = 10_000_000
"""A log that is longer is put aside as `<name>.log.1`, in place of an older one."""

FOLDER_VARIABLE = "DATAFLOW_UP_FOLDER"
"""Marks every process below an `up` with its data folder, so that leftovers are known for sure (leftovers.py)."""

_TAIL_BYTES = 20_000


@dataclass(frozen=True, slots=True)
class Program:
    """What a child runs.

    Args:
        name: for people and for the log file, for example "worker.anomaly".
        command: program and arguments.
        stage: children start in rising order of stages and stop in falling order.
        ready: tells from the child's pid whether it does its work now; asked often until it says yes.
        stop_s: seconds that it may take to stop before it is killed.
    """

    name: str
    command: tuple[str, ...]
    stage: int
    ready: Callable[[int], bool]
    stop_s: float = 20.0


class Child:
    """A started program. It has a session of its own and gets SIGTERM when this process dies.

    Start it in the main thread (see `dies_with_parent`). Raises OSError if the program cannot be started.
    """

    def __init__(self, program: Program, folder: Path, log: Path) -> None:
        self.program = program
        self.log = log
        self.started_at = time.monotonic()
        rotate(log)
        with log.open("ab") as out:
            self._log_begins = out.tell()
            self._popen = subprocess.Popen(
                program.command,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                start_new_session=True,
                preexec_fn=_in_child(),
                env={**os.environ, FOLDER_VARIABLE: str(folder)},
            )
        self.process = ProcessId.of(self._popen.pid)

    @property
    def pid(self) -> int:
        """Its process id, which is the id of its session too."""
        return self._popen.pid

    @property
    def returncode(self) -> int | None:
        """Its exit code, negative for a signal; None while it runs. Does not block."""
        return self._popen.poll()

    @property
    def ran_s(self) -> float:
        """Seconds since it was started."""
        return time.monotonic() - self.started_at

    def terminate(self) -> None:
        """Ask it to stop. Does not wait."""
        if self.returncode is None:
            self._popen.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """End it and every process of its session at once, and wait for the kernel to do so."""
        if self.returncode is None:
            os.killpg(self.pid, signal.SIGKILL)
            self._popen.wait()

    def bound_log(self) -> None:
        """Put the log aside if it has grown too long; the child, which appends to it, goes on in the empty file.

        What it writes just then may be lost: of the log, not of any message.
        """
        with suppress(OSError):  # the disk may be full; the next call tries again
            if self.log.stat().st_size > LOG_BYTES:
                shutil.copyfile(self.log, aside(self.log))
                os.truncate(self.log, 0)
                self._log_begins = 0

    def last_words(self) -> str:
        """What its log says about why it ended; "" if it says nothing."""
        with self.log.open("rb") as file:
            file.seek(max(self._log_begins, self.log.stat().st_size - _TAIL_BYTES))
            return last_words(file.read().decode(errors="replace").splitlines())


def rotate(log: Path) -> None:
    """Put a log aside that has grown too long."""
    if log.exists() and log.stat().st_size > LOG_BYTES:
        log.replace(aside(log))


def aside(log: Path) -> Path:
    """Where a log is put that has grown too long."""
    return log.with_name(log.name + ".1")


def _in_child() -> Callable[[], None]:
    """What a child does before its program runs: take all signals again, and end with its parent."""
    arrange_death = dies_with_parent(signal.SIGTERM)

    def arrange() -> None:
        signal.pthread_sigmask(signal.SIG_SETMASK, ())
        arrange_death()

    return arrange
