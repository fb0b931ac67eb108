"""The sync room of one process: its flow, kept up to date, and its servers."""

from __future__ import annotations

import logging
import time
from pathlib import Path
from threading import Lock
from typing import Any, Final

from dataflow.connections import Resolved, resolve
from dataflow.errors import DataflowError, FlowError, UnknownName
from dataflow.flow.load import load
from dataflow.flow.spec import Flow
from dataflow.store.declare import revision
from dataflow.store.keys import Keys
from dataflow.store.redis import Client
from dataflow.store.runs import AskedRuns
from sync.edges import run_edge
from sync.run import Run
from sync.runner import Stop
from sync.servers import Servers, home
from sync.warehouse.chdb import ChdbWarehouse

log = logging.getLogger("dataflow.sync")

HELD_TRIES: Final = 4
HELD_S: Final = 0.1


class Room:
    """Runs edges of a flow file. Thread-safe.

    Args:
        path: the flow file.
        warehouse: the embedded ClickHouse if this process owns it; opened and closed elsewhere.

    Raises FlowError: the file has problems.
    """

    def __init__(self, path: Path, warehouse: ChdbWarehouse | None = None) -> None:
        self._path = path
        self._flow = load(path)
        self.resolved = resolve(self._flow)
        self._revision: int | None = None
        self._lock = Lock()
        self.warehouse = warehouse
        self.servers = Servers(self.resolved, warehouse)

    @property
    def flow(self) -> Flow:
        """The flow as it is now."""
        return self._flow

    @property
    def keys(self) -> Keys:
        """The flow's keys."""
        return Keys(self._flow.name)

    @property
    def applied(self) -> bool:
        """Whether the flow was applied when Redis was last asked, by `follow`."""
        return bool(self._revision)

    @property
    def asked(self) -> AskedRuns:
        """The runs that were asked for by HTTP. Raises NotRunning."""
        return AskedRuns(self.redis, self.keys)

    @property
    def redis(self) -> Client:
        """Where the flow keeps its revision and its heartbeats. Raises NotRunning."""
        return self.servers.redis(home(self._flow))

    def follow(self) -> bool:
        """Load the flow file again if the flow was applied since the last call. Returns whether it changed.

        A file that cannot be followed (problems, other servers) is reported, and the flow stays as it is. Raises
        ServerAway, OutcomeUnknown, NotRunning.
        """
        found = revision(self.redis, self.keys)
        with self._lock:
            if self._revision is None:
                self._revision = found
            if found == self._revision:
                return False
            self._revision = found
            return self._reload()

    def run(self, name: str, *, max_batches: int | None, stop: Stop, batch: int | None = None) -> Run:
        """Run one edge now; see `run_edge`.

        An edge that is held is tried again at once: its holder may only be asking its target for a moment what it has.
        """
        try:
            self.follow()
        except DataflowError as error:
            log.debug("cannot look for a new revision of the flow: %s", error)
        for _ in range(HELD_TRIES):
            run = run_edge(self._flow, name, self.servers, max_batches=max_batches, batch=batch, stop=stop)
            if run.state != "held" or run.batches or stop():
                break
            time.sleep(HELD_S)
        return run

    def run_hinted(
        self, name: str, tick: int | None, *, stop: Stop, max_batches: int | None = None, batch: int | None = None
    ) -> dict[str, Any]:
        """Run one edge as a hint asks for; gives what `Run` holds. An edge that is not there is told and forgotten."""
        try:
            run = self.run(name, max_batches=max_batches, batch=batch, stop=stop)
        except UnknownName as error:
            log.warning("a hint for an edge that is not there: %s", error, extra={"edge": name, "tick": tick})
            return {"state": "unknown-edge", "error": str(error)}
        log.info("edge %s: %s", name, run.state, extra={"tick": tick, "read": run.read, "dead": run.dead})
        return run.as_dict()

    def close(self) -> None:
        """Let go of the servers."""
        self.servers.close()

    def _reload(self) -> bool:
        try:
            flow = load(self._path)
        except (FlowError, OSError) as error:
            log.error("the flow was applied anew, but %s cannot be used, so the old one stays: %s", self._path, error)
            return False
        if flow.name != self._flow.name or not _same(resolve(flow), self.resolved):
            log.error("the flow has another name or other servers now: restart this process to follow")
            return False
        log.info("the flow was applied anew", extra={"revision": self._revision, "digest": flow.digest[:12]})
        self._flow = flow
        return True


def _same(one: Resolved, other: Resolved) -> bool:
    kinds = ((one.redis, other.redis), (one.warehouse, other.warehouse), (one.mongo, other.mongo))
    return all(dict(was) == dict(is_) for was, is_ in kinds)
