"""The parent of a worker's processes: starts them, keeps their claims alive, ends those that hang, replaces the dead.

It has no threads and runs none of the user's code, so nothing a handler does can stop it from renewing leases.
"""

from __future__ import annotations

import logging
import signal
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from dataflow.connections import resolve
from dataflow.errors import DataflowError, FlowError, OutcomeUnknown, ServerAway, UnknownName
from dataflow.flow.load import load
from dataflow.flow.spec import Worker
from dataflow.store.alarms import clear_alarm, raise_alarm
from dataflow.store.declare import applied_digest, check_format
from dataflow.store.hop import Hop
from dataflow.store.keep import KEEP_EVERY_S, trim_kept
from dataflow.store.keys import Keys
from dataflow.store.live import BEAT_EVERY_S, beat, leave, live, process_name
from dataflow.store.memory import check_at_start
from dataflow.store.parcels import MAX_ENTRIES
from dataflow.store.redis import connect
from dataflow.store.trend import note_depths
from workers.child import Job
from workers.every import Every
from workers.slot import Slot

log = logging.getLogger("dataflow.worker")

TICK_S = 0.05
WAKE_EVERY_S = 0.5
WAKE_FOR_S = 0.1
BEAT_IN_SETUP_S = 0.2
"""Until every process is ready, so that whoever waits for it learns it soon."""
WATCH_EVERY_S = 2.0
SWEEP_EVERY_S = 600.0
SWEEP_IDLE_MS = 3_600_000
CALM_AFTER_S = 60.0
"""So long after the last crash its alarm is taken down."""

EXIT_OK = 0
EXIT_UNUSABLE = 2


class Parent:
    """Runs one worker of a flow until SIGTERM or SIGINT; the second signal ends it at once.

    Args:
        flow_path: the flow file; read again when the flow was applied anew.
        name: the worker.
        processes: how many children; None: as the flow file says.

    Raises FlowError, UnknownName, NotRunning (an embedded Redis that is not there).
    """

    def __init__(self, flow_path: Path, name: str, processes: int | None = None) -> None:
        self._path, self._name, self._processes = flow_path, name, processes
        self._job = self._load()
        self._keys = Keys(self._job.flow.name)
        # Short: while the parent waits for an answer it minds nothing else.
        self._redis = connect(self._job.redis_url, timeout_s=max(0.5, min(2.0, self._job.worker.lease_s / 3)))
        self._hop = self._job.hop(self._redis)
        self._slots: list[Slot] = []
        self._process = process_name(name)
        self._digest = self._job.flow.digest
        self._signals = 0
        self._stopping = self._unusable = self._unreachable = False
        self._crashed_at = 0.0

    def run(self) -> int:
        """Block until told to stop. Returns the exit code: 0, or 2 when the handler cannot be used.

        Raises ServerAway, FormatTooNew, EvictingServer before anything was started.
        """
        check_format(self._redis, self._keys)
        check_at_start(self._redis)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._on_signal)
        self._quietly(lambda: clear_alarm(self._redis, self._keys, "full", self._name))
        self._say(logging.INFO, "worker starts", processes=self._wanted())
        steps = self._steps()
        while not self._at_rest():
            self._tick(steps)
            time.sleep(TICK_S)
        self._quietly(lambda: leave(self._redis, self._keys, "worker", self._process))
        self._say(logging.INFO, "worker stopped")
        return EXIT_UNUSABLE if self._unusable else EXIT_OK

    def _load(self) -> Job:
        flow = load(self._path)
        if self._name not in flow.workers:
            known = ", ".join(flow.workers) or "none"
            raise UnknownName(f"flow {flow.name!r} has no worker {self._name!r} (it has: {known})")
        worker = flow.workers[self._name]
        return Job(flow, worker, resolve(flow).redis[flow.streams[worker.source].on])

    def _steps(self) -> list[Every]:
        return [
            Every(lambda: self._job.worker.lease_s / 3, self._renew),
            Every(lambda: WAKE_EVERY_S, self._wake),
            Every(lambda: BEAT_EVERY_S if self._ready() else BEAT_IN_SETUP_S, self._beat),
            Every(lambda: WATCH_EVERY_S, self._watch),
            Every(lambda: SWEEP_EVERY_S, self._sweep),
            Every(lambda: KEEP_EVERY_S, self._trim),
        ]

    def _tick(self, steps: list[Every]) -> None:
        self._heed_signals()
        while len(self._slots) < self._wanted():
            self._slots.append(Slot())
        for slot in list(self._slots):
            self._tend(slot, time.monotonic())
        for step in steps:
            if self._signals > 1 or (self._unreachable and self._at_rest()):
                break
            if not step.run(time.monotonic()) and self._signals:
                break  # a server that stands still keeps nobody: first the children that are to end

    def _at_rest(self) -> bool:
        """Whether it was told to stop and no child is left."""
        return self._stopping and not any(slot.pid for slot in self._slots)

    def _heed_signals(self) -> None:
        if self._signals and not self._stopping:
            self._stop("worker stops: finishing what is in hand")
        if self._signals > 1:
            for slot in self._slots:
                if slot.pid:
                    slot.kill()

    def _stop(self, text: str) -> None:
        self._say(logging.INFO, text)
        self._stopping = True
        for slot in self._slots:
            slot.ask_to_stop()

    def _tend(self, slot: Slot, now: float) -> None:
        if slot.pid:
            code = slot.reap()
            if code is not None:
                self._ended(slot, code)
            elif lasted_s := slot.end_if_hung(now):
                text = "the handler runs longer than timeout_s: ending the process; its stacks follow"
                self._say(logging.ERROR, text, pid=slot.pid, ran_s=round(lasted_s, 1))
        elif self._slots.index(slot) >= self._wanted():
            self._slots.remove(slot)
        elif not self._stopping and now >= slot.start_at:
            slot.start(self._job, self._hop)

    def _ended(self, slot: Slot, code: int) -> None:
        ending = slot.ended(code)
        if ending.unusable:
            self._unusable = True
            self._stop("worker stops: its handler cannot be used")
        elif ending.crash:
            self._crashed(ending.crash, slot.pause_s)
        else:
            hop = slot.hop or self._hop
            self._quietly(lambda: hop.hand_back(slot.consumer, ending.begun))

    def _crashed(self, reason: str, pause_s: float) -> None:
        text = f"a process of the worker ended ({reason}); what it held runs again, one by one"
        self._say(logging.ERROR, text, restart_in_s=pause_s)
        self._crashed_at = time.monotonic()
        self._quietly(lambda: raise_alarm(self._redis, self._keys, "crash", self._name, text))

    def _wanted(self) -> int:
        return self._processes or self._job.worker.processes

    def _renew(self) -> None:
        groups: dict[int, tuple[Hop, list[str]]] = {}
        for slot in self._slots:
            if slot.pid and slot.hop:
                groups.setdefault(id(slot.hop), (slot.hop, []))[1].append(slot.consumer)
        for hop, consumers in groups.values():
            hop.renew(consumers)

    def _wake(self) -> None:
        until = time.monotonic() + WAKE_FOR_S
        while self._hop.wake() >= MAX_ENTRIES and time.monotonic() < until:
            pass

    def _beat(self) -> None:
        pids = [slot.pid for slot in self._slots if slot.pid]
        ready = self._ready()
        beat(self._redis, self._keys, "worker", self._process, name=self._name, processes=pids, ready=ready)
        note_depths(self._job.flow, self._redis, self._job.flow.streams[self._job.worker.source].on)
        if self._crashed_at and time.monotonic() - self._crashed_at > CALM_AFTER_S:
            clear_alarm(self._redis, self._keys, "crash", self._name)
            self._crashed_at = 0.0

    def _ready(self) -> bool:
        """Whether every process has loaded the handler and reads."""
        return len(self._slots) >= self._wanted() and all(slot.ready for slot in self._slots)

    def _sweep(self) -> None:
        self._hop.sweep(SWEEP_IDLE_MS)
        live(self._redis, self._keys)  # which forgets those that are long gone

    def _trim(self) -> None:
        flow, worker = self._job.flow, self._job.worker
        trim_kept(flow, self._redis, flow.streams[worker.source].on)

    def _watch(self) -> None:
        """Follow a flow that was applied anew: load the file again, and replace the children if their part changed."""
        found = applied_digest(self._redis, self._keys)
        if self._stopping or found in ("", self._digest):
            return
        self._digest = found
        try:
            job = self._load()
        except (FlowError, UnknownName) as error:
            self._say(logging.ERROR, f"the flow was applied anew but this worker keeps its old part: {error}")
            return
        if job.flow.name != self._job.flow.name or job.redis_url != self._job.redis_url:
            self._say(logging.ERROR, "the flow's name or its Redis has changed: start this worker again to follow")
            return
        if part_of(job) != part_of(self._job):
            self._say(logging.INFO, "the flow has changed: replacing the processes")
            self._job, self._hop = job, job.hop(self._redis)
            for slot in self._slots:
                slot.ask_to_stop()

    def _on_signal(self, *_: object) -> None:
        self._signals += 1

    def _quietly(self, step: Callable[[], object]) -> None:
        """Run a step that may fail without harm: a lease does the same later, or the next start."""
        if self._stopping and self._unreachable:
            return
        try:
            step()
            self._unreachable = False
        except DataflowError as error:
            self._unreachable = isinstance(error, ServerAway | OutcomeUnknown)
            self._say(logging.WARNING, str(error))

    def _say(self, level: int, text: str, **facts: object) -> None:
        log.log(level, text, extra={"worker": self._name, **facts})


def part_of(job: Job) -> tuple[Worker, list[object], bool]:
    """What of the flow a child's behaviour depends on."""
    flow, worker = job.flow, job.worker
    streams: list[object] = [replace(flow.streams[name]) for name in (worker.source, *worker.targets)]
    return worker, streams, flow.keeps_mid(worker.name)
