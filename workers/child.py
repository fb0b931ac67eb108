"""One process of a worker: sets the handler up, runs the loop, stops in good order."""

from __future__ import annotations

import contextlib
import faulthandler
import gc
import logging
import os
import signal
import sys
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NoReturn

from dataflow.flow.spec import Flow, Worker
from dataflow.process import dies_with_parent
from dataflow.store.hop import Hop
from dataflow.store.keys import Keys
from dataflow.store.redis import Client, connect
from workers import fate, kinds, memory
from workers.handler import Handler, HandlerUnusable, Pace
from workers.loop import Loop
from workers.patience import Patience
from workers.pulse import Pulse
from workers.trouble import Trouble

log = logging.getLogger("dataflow.worker")

EXIT_OK = 0
EXIT_BROKEN = 70
EXIT_UNUSABLE = 78
EXIT_SETUP = 79
EXIT_MEMORY = 80

STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT)
SHOW_STACKS = signal.SIGUSR2
"""A child that gets it writes the stacks of its threads to stderr."""
_OOM_SCORE = 500
"""When memory runs out, the kernel shall end a child rather than its parent or a server."""


@dataclass(frozen=True, slots=True)
class Job:
    """What the children of a worker are to do, and where."""

    flow: Flow
    worker: Worker
    redis_url: str = field(repr=False)

    def hop(self, redis: Client) -> Hop:
        """The worker's consumer group."""
        worker = self.worker
        return Hop(redis, Keys(self.flow.name), worker.source, worker.name, worker.targets)


def fork(job: Job, consumer: str, predecessors: Sequence[str], pulse: Pulse) -> int:
    """Start a child process in a process group of its own. Returns its pid; in the child it never returns.

    The caller must have no other threads. The child dies with the caller, stops when its pulse says so, and has no
    signal handlers: SIGTERM ends it on the spot.

    Args:
        consumer: a name never used before.
        predecessors: dead consumers whose entries the child takes.
        pulse: fresh.
    """
    arrange_death = dies_with_parent(signal.SIGKILL)
    signal.pthread_sigmask(signal.SIG_BLOCK, STOP_SIGNALS)  # till the caller's handlers are gone
    pid = os.fork()
    if not pid:
        _live(job, consumer, predecessors, pulse, arrange_death)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, STOP_SIGNALS)
    _own_group(pid)
    return pid


def _own_group(pid: int) -> None:
    """Give a child a process group, so that what its handler starts can be ended with it, and so that Ctrl-C in a
    terminal reaches the parent alone. Child and parent both do it: whoever comes first."""
    with contextlib.suppress(ProcessLookupError, PermissionError):  # it has ended, or the other one was first
        os.setpgid(pid, pid)


def _live(
    job: Job, consumer: str, predecessors: Sequence[str], pulse: Pulse, arrange_death: Callable[[], None]
) -> NoReturn:
    """All of a child's life. Nothing may get out of here, into the caller's code."""
    code = EXIT_BROKEN
    try:
        arrange_death()
        _own_group(0)
        _arrange_signals()
        _arrange_streams()
        _arrange_faults()
        code = _run(job, consumer, predecessors, pulse)
    except MemoryError:  # as if it had crashed: with it goes what it had taken, and what it held runs one by one
        traceback.print_exc(limit=-3)
        code = EXIT_MEMORY
    except BaseException:  # noqa: BLE001 - the last frame of the process: say what happened and end
        traceback.print_exc()
    finally:
        logging.shutdown()
        with contextlib.suppress(OSError, ValueError):  # whoever read it may be gone
            sys.stdout.flush()
        os._exit(code)


def _arrange_signals() -> None:
    for number in STOP_SIGNALS:
        signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, STOP_SIGNALS)


def _arrange_streams() -> None:
    """A handler reads nothing from the terminal, and what it prints stands among the logs, line by line."""
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    os.dup2(2, 1)
    sys.stdout = os.fdopen(1, "w", buffering=1, encoding="utf-8", errors="backslashreplace", closefd=False)


def _arrange_faults() -> None:
    faulthandler.enable(file=2)
    faulthandler.register(SHOW_STACKS, file=2, all_threads=True)
    with contextlib.suppress(OSError):  # not every container lets us
        Path("/proc/self/oom_score_adj").write_text(str(_OOM_SCORE), encoding="ascii")


def _run(job: Job, consumer: str, predecessors: Sequence[str], pulse: Pulse) -> int:
    flow, worker = job.flow, job.worker
    redis = connect(job.redis_url)
    trouble = Trouble(flow, worker, redis)
    if worker.memory_mb is not None:
        memory.limit(worker.memory_mb, worker.threads)
    try:
        handler = kinds.load(worker, flow.path.parent)
    except HandlerUnusable as error:
        log.error("%s", error, exc_info=error.__cause__)
        trouble.handler(str(error))
        return EXIT_UNUSABLE
    except Exception as error:
        log.exception("setup of the handler failed", extra={"worker": worker.name})
        trouble.handler(f"its setup fails: {fate.named(error)}")
        return EXIT_SETUP
    trouble.handler("")
    gc.freeze()  # a model may be millions of objects, which the collector need not look through again and again
    patience = Patience(pulse.stop_asked, trouble.tell)
    pace = Pace(pulse, pulse.stop_asked)
    Loop(flow, worker, job.hop(redis), consumer, handler, pace, patience, predecessors).run()
    _close(handler, pulse)
    return EXIT_OK


def _close(handler: Handler, pulse: Pulse) -> None:
    pulse.begin(0)  # it may hang like any other call
    try:
        handler.close()
    except Exception:
        log.exception("closing the handler failed; its messages are settled")
    pulse.end(0)
