"""The sync process: Celery worker, continuous edges and the embedded warehouse with its server, under one roof.

The main thread is Celery's, which takes the signals. A watch thread keeps the loops of the continuous edges in line
with the flow and writes the heartbeat. Nothing here forks: chDB would not survive it.
"""

from __future__ import annotations

import logging
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from celery.signals import setup_logging

from dataflow.connections import resolve
from dataflow.errors import DataflowError
from dataflow.flow.load import load
from dataflow.flow.spec import Flow
from dataflow.run_file import WarehouseAddress
from dataflow.store.declare import check_format
from dataflow.store.live import BEAT_EVERY_S, beat, leave, process_name
from dataflow.up.folder import DataFolder
from sync import app
from sync.loops import Loops
from sync.room import Room
from sync.warehouse.chdb import ChdbWarehouse
from sync.warehouse.server import WarehouseServer

log = logging.getLogger("dataflow.sync")

STOP_S = 25.0
"""How long the edges may take to finish the batches in hand."""


class Host:
    """Runs the sync room of a flow until SIGTERM or SIGINT. Use it in the main thread, once per process.

    Args:
        path: the flow file.
        concurrency: edges that run at the same time when asked for.
    """

    def __init__(self, path: Path, concurrency: int) -> None:
        self._path = path
        self._concurrency = concurrency

    def run(self) -> int:
        """Block until told to stop. Returns the exit code: 0, or 1 if Celery ended by itself.

        Raises FlowError, NotRunning, ServerAway, FormatTooNew: nothing was started.
        """
        with ExitStack() as stack:
            warehouse = stack.enter_context(_warehouse(load(self._path), self._path))
            room = Room(self._path, warehouse)
            stack.callback(room.close)
            check_format(room.redis, room.keys)
            watch = _Watch(room, self._concurrency)
            stack.callback(watch.stop)
            watch.start()
            _celery(room, self._concurrency)
        return 0 if app.stop.is_set() else 1


class _Watch:
    """The thread that looks after the loops and says that the process lives."""

    def __init__(self, room: Room, concurrency: int) -> None:
        self._room = room
        self._concurrency = concurrency
        self._loops = Loops()
        self._process = process_name("sync")
        self._thread = threading.Thread(target=self._run, name="watch", daemon=True)
        self._said = ""

    def start(self) -> None:
        """Start the continuous edges."""
        self._thread.start()

    def stop(self) -> None:
        """Wait until every continuous edge has finished its batch and let go. Sets the stop flag if no signal did."""
        app.stop.set()
        self._thread.join(STOP_S + 5)

    def _run(self) -> None:
        while not app.stop.is_set():
            self._try(self._look)
            app.stop.wait(BEAT_EVERY_S)
        self._loops.stop(STOP_S)
        self._try(self._leave)

    def _look(self) -> None:
        room = self._room
        self._loops.keep(room.flow, room.servers)
        if room.follow():
            self._loops.keep(room.flow, room.servers)
        edges = {name: str(state) for name, state in self._loops.states().items()}
        beat(room.redis, room.keys, "sync", self._process, edges=edges, concurrency=self._concurrency)

    def _leave(self) -> None:
        leave(self._room.redis, self._room.keys, "sync", self._process)

    def _try(self, step: Callable[[], None]) -> None:
        try:
            step()
            self._said = ""
        except DataflowError as error:
            if str(error) != self._said:
                log.warning("%s", error)
            self._said = str(error)
        except Exception:
            log.exception("an error that nobody expected")


@contextmanager
def _warehouse(flow: Flow, path: Path) -> Iterator[ChdbWarehouse | None]:
    """The embedded ClickHouse, open and served, if the flow has one."""
    embedded = [c.name for c in flow.connections.values() if c.kind == "clickhouse" and c.embedded]
    if not embedded:
        yield None
        return
    address = resolve(flow).warehouse[embedded[0]]
    if not isinstance(address, WarehouseAddress):
        raise TypeError(f"connection {embedded[0]!r} is embedded and has no address")
    with ChdbWarehouse(DataFolder.of(path).warehouse) as warehouse:
        server = WarehouseServer(warehouse, address.port, address.key, address.host)
        server.start()
        try:
            yield warehouse
        finally:
            server.close()


def _celery(room: Room, concurrency: int) -> None:
    """Run the worker in this thread until a signal ends it."""
    setup_logging.connect(_keep_logging)
    app.use(room)
    worker = app.celery_.Worker(
        pool="threads",
        concurrency=concurrency,
        hostname=f"sync@{socket.gethostname()}",
        quiet=True,
        without_gossip=True,
        without_mingle=True,
        without_heartbeat=True,
    )
    worker.start()


def _keep_logging(**_: object) -> None:
    """Celery leaves logging alone when someone listens to this signal."""
