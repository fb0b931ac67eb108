"""Hints that the broker did not take, as it is full or away: this process looks for them where schedulers leave them.

A Redis at its memory limit refuses Celery's messages. The edges that they ask for are what makes room, so they are run
here, without Celery.
"""

from __future__ import annotations

import logging
import threading
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import Final

from dataflow.store.lefthints import LeftHint, LeftHints
from sync.room import Room
from sync.run import TROUBLE

log = logging.getLogger("dataflow.sync")

LOOK_S: Final = 1.0


class LeftRuns:
    """A thread that runs what they ask for until `stop` is set. Every process of the room may have one.

    Args:
        stop: set when nothing more is to be begun; runs look at it between batches.
        concurrency: edges that run at the same time.
    """

    def __init__(self, room: Room, stop: threading.Event, concurrency: int) -> None:
        self._room = room
        self._stop = stop
        self._thread = threading.Thread(target=self._run, name="left", daemon=True)
        self._pool = ThreadPoolExecutor(concurrency, thread_name_prefix="left")
        self._running: set[Future[None]] = set()

    @property
    def hints(self) -> LeftHints:
        """The hints that were left. Raises NotRunning."""
        return LeftHints(self._room.redis, self._room.keys)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def join(self, timeout_s: float) -> None:
        """Wait for the end, once `stop` is set."""
        self._thread.join(timeout_s)
        self._pool.shutdown(wait=False, cancel_futures=True)
        wait(self._running, timeout_s)

    def turn(self) -> None:
        """Take what was left and begin to run it. Raises what `sync.run.TROUBLE` names."""
        self._running = {run for run in self._running if not run.done()}
        for left in self.hints.take():
            self._running.add(self._pool.submit(self._run_one, left))

    def _run(self) -> None:
        while not self._stop.wait(LOOK_S):
            try:
                self.turn()
            except TROUBLE as error:
                log.debug("cannot look for hints that were left: %s", error)
            except Exception:
                log.exception("an error that nobody expected")

    def _run_one(self, left: LeftHint) -> None:
        try:
            end = self._room.run_hinted(left.edge, left.tick, stop=self._stop.is_set)
            self.hints.tell(left.hint, end)
        except TROUBLE as error:
            log.warning("how the run of edge %s has ended could not be told: %s", left.edge, error)
        except Exception:
            log.exception("edge %s: an error that nobody expected", left.edge)
