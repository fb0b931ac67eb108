"""What Linux knows about processes: who is alive, and that children end with their parent."""

from __future__ import annotations

import ctypes
import gc
import os
import signal
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Self

_PR_SET_PDEATHSIG = 1
_OBJECTS_OF_BATCHES = 100_000
"""What a few batches of ten thousand messages in hand are made of, in objects that the collector looks through."""
_LIBC = ctypes.CDLL(None, use_errno=True)  # loaded here: dlopen between fork and exec may deadlock


@dataclass(frozen=True, slots=True)
class ProcessId:
    """One process and no other: a pid is used again, a pid with its start time is not.

    `started` is the id of the machine's boot and the clock tick in it.
    """

    pid: int
    started: str

    @classmethod
    def of(cls, pid: int) -> Self | None:
        """The process that has this pid now; None if there is none. A zombie counts as none."""
        fields = _stat(pid)
        if fields is None or fields[0] in ("Z", "X"):
            return None
        return cls(pid, f"{boot()}/{fields[19]}")

    @classmethod
    def own(cls) -> Self:
        """This process."""
        me = cls.of(os.getpid())
        if me is None:
            raise OSError("cannot read /proc/self/stat; is /proc mounted?")
        return me

    @property
    def alive(self) -> bool:
        """Whether this very process still runs."""
        return ProcessId.of(self.pid) == self

    def send(self, signum: signal.Signals) -> bool:
        """Send a signal to this very process; False if it has ended. Does not block."""
        try:
            handle = os.pidfd_open(self.pid)
        except ProcessLookupError:
            return False
        try:
            if not self.alive:  # checked after the handle was taken: the handle stays with the process that was checked
                return False
            signal.pidfd_send_signal(handle, signum)
        except ProcessLookupError:
            return False
        finally:
            os.close(handle)
        return True


def dies_with_parent(signum: signal.Signals = signal.SIGTERM) -> Callable[[], None]:
    """A `preexec_fn` after which the child gets `signum` when the thread that started it ends.

    Start such children from the main thread: the kernel watches the thread, not the process. A parent that
    died between fork and this call is noticed too.
    """
    parent = os.getpid()

    def arrange() -> None:
        _LIBC.prctl(_PR_SET_PDEATHSIG, int(signum), 0, 0, 0)
        if os.getppid() != parent:
            os._exit(1)

    return arrange


def collect_seldom() -> None:
    """For processes that hold large batches: let Python look for cycles of garbage seldom, and not in what is loaded.

    A batch is thousands of lists that live together and die together, and no cycle. By default each seven hundred of
    them set off a search through those that are there, a quarter of all that moving a message costs. Not where code of
    users runs: cycles of theirs may hold much memory each.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(_OBJECTS_OF_BATCHES)


@cache
def boot() -> str:
    """The id that the kernel gave itself when this machine was started."""
    return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()


def _stat(pid: int) -> list[str] | None:
    """The fields of /proc/<pid>/stat from the third (state) on; the second, a name, may hold anything."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return None
    return text.rpartition(")")[2].split()
