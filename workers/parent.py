"""The parent of a worker's processes: starts them, keeps their claims alive, ends those that hang, replaces the dead.

It has no threads and runs none of the user's code, so nothing a handler does can stop it from renewing leases.
"""

from __future__ import annotations

import logging
import os
import signal
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

from dataflow.flow.load import load

from dataflow.connections import resolve
from dataflow.errors import DataflowError, FlowError, UnknownName
from dataflow.flow.spec import Flow, Worker
from dataflow.store.declare import check_format, revision
from dataflow.store.hop import LANES, Entry, Hop
from dataflow.store.keys import Keys
from dataflow.store.live import BEAT_EVERY_S, beat, leave, process_name
from dataflow.store.redis import connect
from workers import child
from workers.pulse import Pulse

log = logging.getLogger("dataflow.worker")

TICK_S = 0.1
WAKE_EVERY_S = 0.5
WATCH_EVERY_S = 2.0
LONGEST_RESTART_S = 30.0
STEADY_AFTER_S = 10.0


@dataclass(slots=True)
class Slot:
    """A place for one child: who is in it, and what its predecessors left."""

    pulse: Pulse
    pid: int = 0
    consumer: str = ""
    started: float = 0.0
    start_at: float = 0.0
    restart_s: float = 0.0
    left_by: list[str] = field(default_factory=list)


class Every:
    """Runs a step at most every `seconds`; an error of the server is logged once and does not stop the parent."""

    def __init__(self, seconds: float, step: Callable[[], None]) -> None:
        self._seconds, self._step = seconds, step
        self._next = 0.0
        self._said = ""

    def run(self, now: float) -> None:
        """Run the step if it is due."""
        if now < self._next:
            return
        self._next = now + self._seconds
        try:
            self._step()
            self._said = ""
        except DataflowError as error:
            if str(error) != self._said:
                log.warning("%s", error)
                self._said = str(error)


class Parent:
    """Runs one worker of a flow until SIGTERM or SIGINT; the second signal ends it at once.

    Args:
        processes: how many children; None: as the flow file says.
    """

    def __init__(self, flow_path: Path, name: str, processes: int | None) -> None:
        self._path, self._name, self._processes = flow_path, name, processes
        self._flow, self._worker = self._load()
        self._url = resolve(self._flow).redis[self._flow.streams[self._worker.source].on]
        self._redis = connect(self._url)
        self._keys = Keys(self._flow.name)
        self._revision = -1
        self._signals = 0
        self._failed = False
        self._process = process_name(name)
        self._take_worker(self._flow, self._worker)

    def run(self) -> int:
        """Block until told to stop. Returns the exit code: 0, or 2 when the handler cannot be used."""
        check_format(self._redis, self._keys)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._on_signal)
        log.info("worker starts", extra={"worker": self._name, "processes": len(self._slots)})
        while not self._signals and not self._failed:
            self._tick()
            time.sleep(TICK_S)
        self._stop()
        self._quietly(lambda: leave(self._redis, self._keys, "worker", self._process))
        return 2 if self._failed else 0

    def _load(self) -> tuple[Flow, Worker]:
        flow = load(self._path)
        if self._name not in flow.workers:
            known = ", ".join(flow.workers) or "none"
            raise UnknownName(f"flow {flow.name!r} has no worker {self._name!r} (it has: {known})")
        return flow, flow.workers[self._name]

    def _take_worker(self, flow: Flow, worker: Worker) -> None:
        self._flow, self._worker = flow, worker
        self._hop = Hop(self._redis, self._keys, worker.source, worker.name, worker.targets)
        self._slots = [Slot(Pulse(worker.threads)) for _ in range(self._processes or worker.processes)]
        self._steps = [
            Every(worker.lease_s / 3, self._renew),
            Every(WAKE_EVERY_S, self._wake),
            Every(BEAT_EVERY_S, self._beat),
            Every(WATCH_EVERY_S, self._watch),
        ]

    def _tick(self) -> None:
        self._reap()
        now = time.monotonic()
        for slot in self._slots:
            if not slot.pid and now >= slot.start_at:
                self._start(slot)
            elif slot.pid and slot.pulse.oldest_call_s() > self._worker.timeout_s:
                log.error(
                    "the handler ran longer than timeout_s: ending the process",
                    extra={"worker": self._name, "pid": slot.pid, "timeout_s": self._worker.timeout_s},
                )
                slot.pulse.reset()
                os.kill(slot.pid, signal.SIGKILL)
        for step in self._steps:
            step.run(now)

    def _start(self, slot: Slot) -> None:
        """Start a child, which finds what its predecessors held pending under its own name."""
        slot.consumer = f"{socket.gethostname()}.{os.getpid()}.{os.urandom(4).hex()}"
        slot.left_by = [dead for dead in slot.left_by if not self._inherit(slot.consumer, dead)]
        slot.pulse.reset()
        slot.pid = child.fork(self._flow, self._worker, self._url, slot.consumer, slot.pulse)
        slot.started = time.monotonic()

    def _inherit(self, consumer: str, dead: str) -> bool:
        return self._quietly(lambda: self._hop.inherit(consumer, dead))

    def _reap(self) -> None:
        for slot in self._slots:
            if not slot.pid:
                continue
            pid, status = os.waitpid(slot.pid, os.WNOHANG)
            if pid:
                self._ended(slot, os.waitstatus_to_exitcode(status))

    def _ended(self, slot: Slot, code: int) -> None:
        pid, slot.pid = slot.pid, 0
        slot.left_by.append(slot.consumer)
        if self._signals:
            return
        if code == child.EXIT_UNUSABLE:
            self._failed = True
            return
        now = time.monotonic()
        steady = now - slot.started > STEADY_AFTER_S
        slot.restart_s = 0.1 if steady or not slot.restart_s else min(slot.restart_s * 2, LONGEST_RESTART_S)
        slot.start_at = now + slot.restart_s
        log.error(
            "a process of the worker ended; what it held runs again, one by one",
            extra={"worker": self._name, "pid": pid, "reason": _reason(code), "restart_in_s": slot.restart_s},
        )

    def _renew(self) -> None:
        live = [slot.consumer for slot in self._slots if slot.pid]
        if live:
            self._hop.renew(live)

    def _wake(self) -> None:
        while self._hop.wake():
            pass

    def _beat(self) -> None:
        pids = [slot.pid for slot in self._slots if slot.pid]
        beat(self._redis, self._keys, "worker", self._process, name=self._name, processes=pids)

    def _watch(self) -> None:
        """Follow a flow that was applied anew: load the file again and restart the children if their part changed."""
        found = revision(self._redis, self._keys)
        if self._revision in (-1, found):
            self._revision = found
            return
        self._revision = found
        try:
            flow, worker = self._load()
        except (FlowError, UnknownName) as error:
            log.error("the flow was applied anew but this worker keeps its old part: %s", error)
            return
        if (worker, _around(flow, worker)) == (self._worker, _around(self._flow, self._worker)):
            return
        log.info("the flow has changed: restarting", extra={"worker": self._name})
        self._end_children()
        self._take_worker(flow, worker)

    def _stop(self) -> None:
        log.info("worker stops: finishing what is in hand", extra={"worker": self._name})
        self._end_children()
        log.info("worker stopped", extra={"worker": self._name})

    def _end_children(self) -> None:
        """SIGTERM, then wait; at a second signal SIGKILL. What they held is put on the bench either way."""
        before = self._signals
        self._signal_children(signal.SIGTERM)
        while any(slot.pid for slot in self._slots):
            if self._signals > max(before, 1):
                self._signal_children(signal.SIGKILL)
            for slot in self._slots:
                if slot.pid and slot.pulse.oldest_call_s() > self._worker.timeout_s:
                    os.kill(slot.pid, signal.SIGKILL)
            self._reap_all()
            self._steps[0].run(time.monotonic())
            time.sleep(TICK_S / 5)
        for slot in self._slots:
            for consumer in slot.left_by:
                begun = _entry(slot.pulse.alone()) if consumer == slot.consumer else []
                self._quietly(lambda consumer=consumer, begun=begun: self._hop.hand_back(consumer, begun))  # type: ignore[misc]

    def _reap_all(self) -> None:
        for slot in self._slots:
            if slot.pid and os.waitpid(slot.pid, os.WNOHANG)[0]:
                slot.pid = 0
                slot.left_by.append(slot.consumer)

    def _signal_children(self, number: signal.Signals) -> None:
        for slot in self._slots:
            if slot.pid:
                os.kill(slot.pid, number)

    def _on_signal(self, *_: object) -> None:
        self._signals += 1

    def _quietly(self, step: Callable[[], object]) -> bool:
        """Run a step that may fail without harm (a lease does the same later). Whether it went through."""
        try:
            step()
        except DataflowError as error:
            log.warning("%s", error, extra={"worker": self._name})
            return False
        return True


def _around(flow: Flow, worker: Worker) -> object:
    """What of the flow a worker's behaviour depends on, beside its own part."""
    streams = [replace(flow.streams[name]) for name in (worker.source, *worker.targets)]
    return streams, flow.keeps_mid(worker.name)


def _reason(code: int) -> str:
    if code < 0:
        return f"killed by {signal.Signals(-code).name}"
    known = {child.EXIT_SETUP: "setup of the handler failed", child.EXIT_OK: "it stopped by itself"}
    return known.get(code, f"exit code {code}")


def _entry(mark: bytes) -> list[Entry]:
    lane, _, id_ = mark.partition(b"/")
    return [Entry(name, id_, []) for name in LANES if name.encode() == lane]
