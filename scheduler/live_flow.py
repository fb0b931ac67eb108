"""The flow as the scheduler goes by it: the file, read again when the flow was applied anew."""

from __future__ import annotations

import logging
from pathlib import Path

from dataflow.connections import resolve
from dataflow.errors import FlowError
from dataflow.flow.load import load
from dataflow.flow.spec import Flow
from dataflow.store.declare import revision
from dataflow.store.keys import Keys
from dataflow.store.redis import Client

log = logging.getLogger("dataflow.scheduler")


class LiveFlow:
    """A flow file that is followed. `current` may be read from any thread.

    Args:
        path: the flow file.
        flow: what it holds now.
        redis: where the flow keeps its revision.
    """

    def __init__(self, path: Path, flow: Flow, redis: Client) -> None:
        self._path = path
        self._redis = redis
        self._revision: int | None = None
        self.current = flow

    def follow(self) -> bool:
        """Read the file again if the flow was applied since the last call. Returns whether it changed.

        A file that cannot be followed is reported, and the flow stays as it is. Raises ServerAway, OutcomeUnknown.
        """
        found = revision(self._redis, Keys(self.current.name))
        known, self._revision = self._revision, found
        if known in (None, found):
            return False
        try:
            flow = load(self._path)
        except (FlowError, OSError) as error:
            log.error("the flow was applied anew, but %s cannot be used, so the old one stays: %s", self._path, error)
            return False
        if _fixed(flow) != _fixed(self.current):
            log.error("the flow has another name, machine, MongoDB or Redis now: restart the scheduler to follow")
            return False
        changed, self.current = flow.digest != self.current.digest, flow
        return changed


def _fixed(flow: Flow) -> object:
    """What cannot change while the scheduler runs."""
    resolved = resolve(flow)
    return flow.name, flow.machine, flow.scheduler.tasks, dict(resolved.redis), dict(resolved.mongo)
