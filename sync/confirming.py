"""Edges that run only when told to: their targets are asked, some seconds after a run, whether they still have it all.

A run of an edge to another server deletes nothing at its source before the target has confirmed what it was told
(`sync.runner`, step 7), and that takes longer than the run. Continuous edges ask as they go on; here it is done for the
others, so that their sources are empty a few seconds after a run that has moved everything.
"""

from __future__ import annotations

import logging
import threading
from typing import Final

from dataflow.flow.spec import Edge
from sync.edges import source_of
from sync.room import Room
from sync.run import TROUBLE
from sync.source import LANES, LaneName

log = logging.getLogger("dataflow.sync")

LOOK_S: Final = 1.0


class Confirming:
    """A thread that does it until `stop` is set. Every process of the room may have one: leases keep them apart.

    Args:
        stop: set when nothing more is to be begun.
    """

    def __init__(self, room: Room, stop: threading.Event) -> None:
        self._room = room
        self._stop = stop
        self._thread = threading.Thread(target=self._run, name="confirming", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def join(self, timeout_s: float) -> None:
        """Wait for the end, once `stop` is set."""
        self._thread.join(timeout_s)

    def turn(self) -> None:
        """Ask every target that is due. Blocks; what is wrong with a server is told by the runs of the edge."""
        for edge in list(self._room.flow.edges.values()):
            if self._stop.is_set():
                return
            if edge.kind == "s2s" and edge.task is not None and self._is_due(edge):
                self._room.run(edge.name, max_batches=0, stop=self._stop.is_set)

    def _run(self) -> None:
        while not self._stop.wait(LOOK_S):
            try:
                self.turn()
            except Exception:
                log.exception("an error that nobody expected")

    def _is_due(self, edge: Edge) -> bool:
        try:
            return any(self._lane_is_due(edge, lane) for lane in LANES)
        except TROUBLE as error:
            log.debug("cannot look what edge %s has to confirm: %s", edge.name, error)
            return False

    def _lane_is_due(self, edge: Edge, lane: LaneName) -> bool:
        waiting = source_of(self._room.flow, edge, self._room.servers, lane).waiting(1)
        return waiting.confirm_ms == 0 and not waiting.open and not waiting.paused
