"""The sync process: Celery worker, continuous edges and the embedded warehouse with its server, under one roof.

The main thread is Celery's, which takes the signals. A watch thread keeps the loops of the continuous edges in line
with the flow and writes the heartbeat. Nothing here forks: chDB would not survive it.
"""

from __future__ import annotations

import logging
import os
import signal
import socket
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from celery.signals import setup_logging, worker_shutting_down
from celery.worker import state

from dataflow.broker import queue_of
from dataflow.connections import resolve
from dataflow.errors import DataflowError
from dataflow.flow.load import load
from dataflow.flow.spec import Flow
from dataflow.process import collect_seldom
from dataflow.run_file import WarehouseAddress
from dataflow.store.declare import check_format
from dataflow.store.live import BEAT_EVERY_S, beat, leave, process_name
from dataflow.store.memory import check_at_start
from dataflow.store.redis import call, connect
from dataflow.store.trend import note_depths
from dataflow.up.folder import DataFolder
from sync import app
from sync.confirming import Confirming
from sync.left import LeftRuns
from sync.loops import Loops
from sync.room import Room
from sync.seldom import Seldom
from sync.warehouse.chdb import ChdbWarehouse
from sync.warehouse.server import WarehouseServer
from sync.watchdog import Watchdog

log = logging.getLogger("dataflow.sync")

STOP_S = 25.0
"""How long the edges may take to finish the batches in hand."""
CELERY_STOPS_S = 10.0
"""How long Celery may take to end after the edges have."""
UNANSWERED_S = 2.0
"""The same, when a server does not answer: what it still does is done again later."""
EXIT_STUCK = 75
"""Exit code when Celery has stopped to take messages: whoever supervises this process starts it again."""


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

        Raises FlowError, NotRunning, ServerAway, FormatTooNew, EvictingServer: nothing was started.
        """
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, _stop_early)
        with ExitStack() as stack:
            warehouse = stack.enter_context(_warehouse(load(self._path), self._path))
            room = Room(self._path, warehouse)
            stack.callback(room.close)
            check_format(room.redis, room.keys)
            for connection in room.flow.redis_connections:
                check_at_start(room.servers.redis(connection))
            app.use(room)
            watch = _Watch(room, self._concurrency)
            stack.callback(watch.join)
            watch.start()
            collect_seldom()
            _celery(self._concurrency)
            asked = app.stop.is_set()
            watch.celery_ended.set()
            app.stop.set()
        return 0 if asked else 1


class _Watch:
    """The thread that looks after the loops and Celery, says that the process lives, and sees to its end."""

    def __init__(self, room: Room, concurrency: int) -> None:
        self._room = room
        self._concurrency = concurrency
        self._watchdog = Watchdog(_queue(room), concurrency)
        self._loops = Loops()
        self._confirming = Confirming(room, app.stop)
        self._left = LeftRuns(room, app.stop, concurrency)
        self._process = process_name("sync")
        self._thread = threading.Thread(target=self._run, name="watch", daemon=True)
        self._said: dict[str, str] = {}
        self._exit_code = os.EX_OK
        self.celery_ended = threading.Event()

    def start(self) -> None:
        """Start the continuous edges."""
        self._watchdog.listen()
        worker_shutting_down.connect(self._begin_to_stop, weak=False)  # this thread may be waiting for a server
        self._confirming.start()
        self._left.start()
        self._thread.start()

    def join(self) -> None:
        """Wait until every continuous edge has finished its batch and let go."""
        app.stop.set()
        self.celery_ended.set()
        self._thread.join()

    def _run(self) -> None:
        while not app.stop.is_set():
            for step in (self._look, self._note_depths, self._look_at_celery):
                if not app.stop.is_set():
                    self._try(step)
            app.stop.wait(BEAT_EVERY_S)
        answers = self._loops.stop(STOP_S) and not self._said.get("_look")
        if answers:
            self._try(self._leave)
            answers = not self._said["_leave"]
        self._confirming.join(STOP_S)
        self._left.join(STOP_S)
        if not self.celery_ended.wait(CELERY_STOPS_S if answers else UNANSWERED_S):
            self._give_celery_up()

    def _begin_to_stop(self, **_: object) -> None:
        self._loops.ask_to_stop()

    def _look(self) -> None:
        room = self._room
        self._loops.keep(room.flow, room.servers)
        if room.follow():
            self._loops.keep(room.flow, room.servers)
        edges = {name: str(state) for name, state in self._loops.states().items()}
        modes = dict(self._loops.modes())
        beat(room.redis, room.keys, "sync", self._process, edges=edges, modes=modes, concurrency=self._concurrency)

    def _note_depths(self) -> None:
        flow = self._room.flow
        for connection in flow.redis_connections:
            note_depths(flow, self._room.servers.redis(connection), connection)

    def _look_at_celery(self) -> None:
        if self._watchdog.stuck(time.monotonic()):
            log.error("Celery has stopped to take messages; ending the process, to be started again")
            self._exit_code = EXIT_STUCK
            app.stop.set()

    def _give_celery_up(self) -> None:
        """The main thread is Celery's, and hangs: no answer from its broker, and no time limit of its own."""
        log.warning("Celery does not end; ending the process without it")
        if self._room.warehouse is not None:
            self._room.warehouse.close()
        logging.shutdown()
        os._exit(self._exit_code)

    def _leave(self) -> None:
        leave(self._room.redis, self._room.keys, "sync", self._process)

    def _try(self, step: Callable[[], None]) -> None:
        """Run a step; a server's error is logged once and does not end the thread."""
        said = ""
        try:
            step()
        except DataflowError as error:
            said = str(error)
            if said != self._said.get(step.__name__):
                log.warning("%s", error)
        except Exception:
            log.exception("an error that nobody expected")
        self._said[step.__name__] = said


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


def _queue(room: Room) -> Callable[[], int]:
    """How many hints wait at the broker; 0 where that is no Redis of the plain kind."""
    url = app.celery_.conf.broker_url
    if not url.startswith(("redis://", "rediss://")):
        return lambda: 0
    client = connect(url)
    return lambda: int(call(client, "LLEN", queue_of(room.flow.name)))


def _stop_early(*_: object) -> None:
    """A signal that comes before Celery has its own handlers: it will stop as soon as it has started."""
    app.stop.set()
    state.should_stop = os.EX_OK


def _celery(concurrency: int) -> None:
    """Run the worker in this thread until a signal ends it."""
    _quieten()
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


def _quieten() -> None:
    """Celery's own account of each message is for those who debug it."""
    setup_logging.connect(_keep_logging)
    logging.getLogger("celery.worker.consumer.consumer").addFilter(Seldom())
    if not log.isEnabledFor(logging.DEBUG):
        for name in ("celery.app.trace", "celery.worker.strategy"):
            logging.getLogger(name).setLevel(logging.WARNING)
    for category in ("celery.platforms", "celery.worker.consumer"):
        warnings.filterwarnings("ignore", module=category)


def _keep_logging(**_: object) -> None:
    """Celery leaves logging alone when someone listens to this signal."""
