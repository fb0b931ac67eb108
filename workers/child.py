"""One process of a worker: sets the handler up, runs the loop, stops in good order."""

from __future__ import annotations

import logging
import os
import signal
import traceback

from dataflow.errors import DataflowError, NotDeclared, StreamFull
from dataflow.flow.spec import Flow, Worker
from dataflow.process import dies_with_parent
from dataflow.store.alarms import clear_alarm, raise_alarm
from dataflow.store.declare import declare
from dataflow.store.hop import Hop
from dataflow.store.keys import Keys
from dataflow.store.redis import Client, connect
from workers import kinds
from workers.handler import Pace
from workers.handlers.python import HandlerUnusable
from workers.loop import Loop
from workers.pulse import Pulse

log = logging.getLogger("dataflow.worker")

EXIT_OK = 0
EXIT_BROKEN = 70
EXIT_UNUSABLE = 78
EXIT_SETUP = 79


def fork(flow: Flow, worker: Worker, redis_url: str, consumer: str, pulse: Pulse) -> int:
    """Start a child process. Returns its pid; in the child it never returns.

    The parent must have no other threads. The child dies with the parent.
    """
    arrange_death = dies_with_parent(signal.SIGKILL)
    pid = os.fork()
    if pid:
        return pid
    code = EXIT_BROKEN
    try:
        arrange_death()
        code = _run(flow, worker, redis_url, consumer, pulse)
    except BaseException:  # noqa: BLE001 - the last frame of the process: say what happened and end
        traceback.print_exc()
    finally:
        logging.shutdown()
        os._exit(code)


def _run(flow: Flow, worker: Worker, redis_url: str, consumer: str, pulse: Pulse) -> int:
    stop = _Stop()
    try:
        handler = kinds.load(worker, flow.path.parent)
    except HandlerUnusable as error:
        log.error("%s", error)
        return EXIT_UNUSABLE
    except Exception:
        log.exception("setup of the handler failed", extra={"worker": worker.name})
        return EXIT_SETUP
    redis = connect(redis_url)
    hop = Hop(redis, Keys(flow.name), worker.source, worker.name, worker.targets)

    trouble = Trouble(flow, worker, redis)
    Loop(flow, worker, hop, consumer, handler, Pace(pulse, stop.asked), stop.asked, trouble.tell).run()
    handler.close()
    return EXIT_OK


class Trouble:
    """Says once what a loop waits for, mends a lost consumer group, and raises an alarm while a target is full."""

    def __init__(self, flow: Flow, worker: Worker, redis: Client) -> None:
        self._flow, self._worker, self._redis = flow, worker, redis
        self._keys = Keys(flow.name)
        self._said = ""

    def tell(self, error: DataflowError | None) -> None:
        """The loop waits because of this error; None: it goes on."""
        try:
            if error is None:
                self._over()
            else:
                self._begin(error)
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


class _Stop:
    """Set by SIGTERM. SIGINT is the parent's business: a terminal sends it to all of us."""

    def __init__(self) -> None:
        self._asked = False
        signal.signal(signal.SIGTERM, self._note)
        signal.signal(signal.SIGINT, signal.SIG_IGN)

    def asked(self) -> bool:
        return self._asked

    def _note(self, *_: object) -> None:
        self._asked = True
