"""The heartbeat of one process of the hub; `dataflow status` shows it, and the flow is followed between requests."""

from __future__ import annotations

import logging
import threading

from dataflow.errors import DataflowError
from dataflow.store.live import BEAT_EVERY_S, beat, leave, process_name
from dataflow.store.trend import note_depths
from message_hub.live_net import LiveNet

log = logging.getLogger("dataflow.hub")


class Pulse:
    """A daemon thread that beats until it is stopped. While Redis is away it tries again.

    Args:
        live: the flow whose Redis gets the heartbeat.
        bind: host:port of the hub, told with each beat.
    """

    def __init__(self, live: LiveNet, bind: str) -> None:
        self._live = live
        self._bind = bind
        self._process = process_name("hub")
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="pulse", daemon=True)

    def start(self) -> None:
        """Begin. Once per process, after the last fork."""
        self._thread.start()

    def stop(self) -> None:
        """Say good-bye and end. Blocks for as long as one call to Redis may take."""
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        while True:
            net = self._live.current()
            try:
                if self._stop.is_set():
                    leave(net.home, net.keys, "hub", self._process)
                    return
                beat(net.home, net.keys, "hub", self._process, bind=self._bind)
                for connection, client in net.redis.items():
                    note_depths(net.flow, client, connection)
            except DataflowError as error:
                log.debug("no heartbeat: %s", error)
                if self._stop.is_set():
                    return
            self._stop.wait(BEAT_EVERY_S)
