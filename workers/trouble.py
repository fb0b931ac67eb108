"""What a worker says while it cannot go on: one line in the log, an alarm for the operator, and mending what it can."""

from __future__ import annotations

import logging

from dataflow.errors import DataflowError, NotDeclared, StreamFull
from dataflow.flow.spec import Flow, Worker
from dataflow.store.alarms import clear_alarm, raise_alarm
from dataflow.store.declare import declare
from dataflow.store.keys import Keys
from dataflow.store.redis import Client

log = logging.getLogger("dataflow.worker")


class Trouble:
    """Says once what a process waits for, mends a lost consumer group, and raises alarms.

    Alarms have the worker as their subject: `full` (a target has no room), `handler` (it cannot be set up).
    """

    def __init__(self, flow: Flow, worker: Worker, redis: Client) -> None:
        self._flow, self._worker, self._redis = flow, worker, redis
        self._keys = Keys(flow.name)
        self._said = ""

    def tell(self, error: DataflowError | None) -> None:
        """The process waits because of this error; None: it goes on. Blocks for a command or two; never raises."""
        try:
            if error is None:
                self._over()
            else:
                self._begin(error)
        except DataflowError as failure:
            log.warning("%s", failure, extra={"worker": self._worker.name})

    def handler(self, problem: str) -> None:
        """The handler cannot be set up because of this problem; "": it can. Never raises."""
        try:
            if problem:
                raise_alarm(self._redis, self._keys, "handler", self._worker.name, problem)
            else:
                clear_alarm(self._redis, self._keys, "handler", self._worker.name)
        except DataflowError as failure:
            log.warning("%s", failure, extra={"worker": self._worker.name})

    def _begin(self, error: DataflowError) -> None:
        text = str(error) if not isinstance(error, StreamFull) else f"{error.stream} is full"
        if text != self._said:
            log.warning("waiting: %s", error, extra={"worker": self._worker.name})
            self._said = text
        if isinstance(error, NotDeclared):
            declare(self._flow, self._redis, self._worker.source, create=False)
        if isinstance(error, StreamFull):
            raise_alarm(self._redis, self._keys, "full", self._worker.name, f"the worker waits: {error}")

    def _over(self) -> None:
        log.info("going on", extra={"worker": self._worker.name})
        self._said = ""
        clear_alarm(self._redis, self._keys, "full", self._worker.name)
