"""Follows the flow: when it is applied anew, the flow file is read again and requests go by the new one."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

from dataflow.errors import DataflowError, OutcomeUnknown, ServerAway, UserError
from dataflow.store.declare import revision
from message_hub.net import Net

LOOK_EVERY_S = 2.0

log = logging.getLogger(__name__)


class LiveNet:
    """Gives the net of the flow that is applied now. Thread-safe.

    Args:
        make: reads the flow file and makes a net of it.
        clock: seconds, monotonic.
    """

    def __init__(self, make: Callable[[], Net], clock: Callable[[], float] = time.monotonic) -> None:
        self._make = make
        self._clock = clock
        self._net = make()
        self._revision = -1
        self._next_look = 0.0
        self._lock = threading.Lock()
        self.trouble: str | None = None

    def current(self) -> Net:
        """The net to use for one request. Now and then one caller asks Redis first; the others do not wait for it.

        Never raises: while Redis is away, or the flow file has errors, the last good net is given. `trouble` says
        why a newer flow is not in use.
        """
        if self._clock() >= self._next_look and self._lock.acquire(blocking=False):
            try:
                self._look()
            finally:
                self._next_look = self._clock() + LOOK_EVERY_S
                self._lock.release()
        return self._net

    def _look(self) -> None:
        try:
            found = revision(self._net.first_redis, self._net.keys)
        except (ServerAway, OutcomeUnknown) as error:
            log.debug("cannot look for a new revision of the flow: %s", error)
            return
        if found == self._revision:
            return
        if self._revision >= 0:
            self._reload(found)
        self._revision = found
        self._net.revision = found

    def _reload(self, found: int) -> None:
        try:
            self._net = self._make()
        except (UserError, DataflowError, OSError) as error:
            self.trouble = f"revision {found} of the flow cannot be used: {error}"
            log.error(self.trouble)
            return
        self.trouble = None
        log.info("the flow was applied anew", extra={"flow": self._net.flow.name, "revision": found})
