"""One scheduler process: its servers, its loop and the thread that turns it."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from pathlib import Path

from flask import Flask

from dataflow.access.gate import LOOPBACK, Gate
from dataflow.access.hosts import Hosts
from dataflow.broker import broker_url, queue_of
from dataflow.errors import DataflowError
from dataflow.flow.load import load
from dataflow.store.declare import check_format
from dataflow.store.keys import Keys
from dataflow.store.leadership import Leadership
from dataflow.store.lefthints import LeftHints
from dataflow.store.live import BEAT_EVERY_S, beat, leave, process_name
from dataflow.store.redis import connect
from scheduler import tasks as documents
from scheduler.addresses import addresses
from scheduler.api.app import create_app
from scheduler.changes import Changes
from scheduler.jobs.edge import Hints
from scheduler.jobs.kinds import Jobs
from scheduler.live_flow import LiveFlow
from scheduler.loop import LOOK_EVERY_S, Loop
from scheduler.tasks import Tasks

log = logging.getLogger("dataflow.scheduler")


class Host:
    """Schedules the tasks of a flow file.

    Args:
        path: the flow file.
        keys_required: the API asks for a key even while the flow has none.
        hosts: the names by which it may be called while it asks for none; None: any.

    Raises FlowError, NotRunning, UserError (no MongoDB), ServerAway, FormatTooNew: nothing was started.
    """

    def __init__(self, path: Path, *, keys_required: bool = False, hosts: Hosts | None = LOOPBACK) -> None:
        flow = load(path)
        redis_url, mongo_url = addresses(flow)
        self._keys = Keys(flow.name)
        self._redis = connect(redis_url)
        self._gate = Gate(lambda: (self._redis, self._keys), required=keys_required, hosts=hosts)
        documents.connect(mongo_url)
        check_format(self._redis, self._keys)
        self._flow = LiveFlow(path, flow, self._redis)
        self._tasks = Tasks(flow.machine)
        hints = Hints(broker_url(redis_url), queue_of(flow.name), LeftHints(self._redis, self._keys))
        self._jobs = Jobs(lambda: self._flow.current, hints)
        leadership = Leadership(self._redis, self._keys, flow.machine)
        changes = Changes(self._redis, self._keys, flow.machine)
        self.loop = Loop(self._flow, self._tasks, leadership, self._jobs, hints, changes)
        self._process = process_name("scheduler")
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="loop", daemon=True)

    @property
    def app(self) -> Flask:
        """The HTTP API."""
        return create_app(self.loop, self._tasks, self._jobs, lambda: self._flow.current, self._gate)

    @classmethod
    def started(cls, path: Path, *, keys_required: bool, hosts: Hosts | None) -> Host:
        """One that schedules already. Once per process, after the last fork."""
        host = cls(path, keys_required=keys_required, hosts=hosts)
        host.loop.start()
        host._thread.start()
        return host

    def close(self) -> None:
        """End in good order. Blocks for the jobs in hand."""
        self._stop.set()
        self._thread.join()
        self.loop.stop()
        self._quietly(lambda: leave(self._redis, self._keys, "scheduler", self._process))

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                self.loop.turn()
            except Exception:
                log.exception("an error that nobody expected")
            self._quietly(self._beat)
            self._stop.wait(min(LOOK_EVERY_S, BEAT_EVERY_S))

    def _beat(self) -> None:
        states = list(self.loop.states().values())
        facts = {"machine": self._tasks.machine, "leads": self.loop.leads, "ready": self.loop.ready}
        counts = {state: states.count(state) for state in ("running", "paused")}
        tasks = self.loop.edges() if self.loop.leads else {}
        told = {**facts, **counts, "tasks": tasks, "trouble": self.loop.trouble}
        beat(self._redis, self._keys, "scheduler", self._process, **told)

    def _quietly(self, step: Callable[[], None]) -> None:
        try:
            step()
        except DataflowError as error:
            log.debug("%s", error)
