"""Tells those who asked for a run by HTTP what became of it. Without the notes a run is what it is."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any, Final

from redis.exceptions import ResponseError

from dataflow.errors import DataflowError
from sync.room import Room
from sync.runner import Stop

log = logging.getLogger("dataflow.sync")

TRIES: Final = 10
EVERY_S: Final = 2.0
"""How often, and how soon again, the end of a run is noted while Redis is away."""


class Notes:
    """The notes on one run.

    Args:
        room: where it runs.
        run: its id; None for one that nobody has asked for by HTTP.
        wait: waits for so many seconds, and answers whether the process is to stop; it is given up then.
    """

    def __init__(self, room: Room, run: str | None, wait: Stop) -> None:
        self._room = room
        self._run = run
        self._wait = wait

    def begin(self) -> None:
        """Note that it has begun. For a run that nobody asked for there is nothing more to note."""
        if self._run is None:
            return
        try:
            if not self._room.asked.begin(self._run):
                self._run = None
        except (DataflowError, ResponseError) as error:
            log.warning("that run %s has begun could not be noted: %s", self._run, error)

    def end(self, outcome: Mapping[str, Any]) -> None:
        """Note what it did. Blocks while Redis is away, for TRIES times EVERY_S at most."""
        for _ in range(TRIES):
            if self._run is None or self._ended(self._run, outcome) or self._wait():
                return
        log.error("the end of run %s could not be noted: it counts as running until it is forgotten", self._run)

    def _ended(self, run: str, outcome: Mapping[str, Any]) -> bool:
        try:
            self._room.asked.end(run, outcome)
        except (DataflowError, ResponseError) as error:
            log.warning("the end of run %s could not be noted: %s", run, error)
            return False
        return True
