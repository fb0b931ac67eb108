"""Follows the flow: when it is applied anew, the flow file is read again and requests go by the new one."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

from dataflow.errors import DataflowError, OutcomeUnknown, ServerAway
from dataflow.store.declare import applied_digest, revision
from message_hub.net import Net

LOOK_EVERY_S = 2.0

log = logging.getLogger("dataflow.hub")


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
        self._applied: tuple[int, str] = (0, "")
        self._trouble = ""
        self._next_look = 0.0
        self._lock = threading.Lock()

    @property
    def revision(self) -> int:
        """Of the flow that was applied when Redis was asked last; 0 if none was."""
        return self._applied[0]

    @property
    def trouble(self) -> str:
        """Why requests do not go by the flow that is applied; empty if they do."""
        return self._trouble

    def current(self) -> Net:
        """The net to use for one request. Now and then one caller asks Redis first; the others do not wait for it.

        Never raises: while Redis is away, or the flow file has errors, the last good net is given.
        """
        if self._clock() >= self._next_look and self._lock.acquire(blocking=False):
            try:
                self._look()
            finally:
                self._next_look = self._clock() + LOOK_EVERY_S
                self._lock.release()
        return self._net

    def _look(self) -> None:
        net = self._net
        try:
            applied = revision(net.home, net.keys), applied_digest(net.home, net.keys)
        except (ServerAway, OutcomeUnknown) as error:
            log.debug("cannot look which flow is applied: %s", error)
            return
        if applied != self._applied:
            self._trouble = self._follow(applied[1])
            self._applied = applied

    def _follow(self, digest: str) -> str:
        """Use the flow file as it is now, if what was applied is not what is in use. Returns what stands against it."""
        if digest in ("", self._net.flow.digest):
            return ""
        try:
            self._net = self._make()
        except (DataflowError, OSError) as error:
            log.error("another flow was applied, but the flow file here cannot be used: %s", error)
            return f"the flow file cannot be used: {error}"
        log.info("the flow file was read again", extra={"flow": self._net.flow.name})
        if self._net.flow.digest != digest:
            return "the flow file here is not the one that was applied; apply this one, or copy that one here"
        return ""
