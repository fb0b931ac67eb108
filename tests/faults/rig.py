"""A whole flow of real processes and servers, built for breaking: each cell of the matrix strikes it once.

The flow is the one of `make chaos`: a worker, an edge between streams, another worker, two tables; one of the edges
runs by a schedule, if that is asked for. Every process is a child of a supervisor of this process, which starts it
again at once. Every server is reached through a proxy.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pymongo

from dataflow import run_file, warehouse
from dataflow.audit import Finding, audit
from dataflow.cli.audit import Tables
from dataflow.client import Hub
from dataflow.errors import DataflowError
from dataflow.flow.load import load
from dataflow.store import declare
from dataflow.store.keys import Keys
from dataflow.store.reading import read_streams
from dataflow.store.redis import connect
from dataflow.testing.chaos.content import SENT, made
from dataflow.testing.chaos.project import FLOW, STEPS
from dataflow.testing.faultpoints import Faults
from dataflow.testing.mongo import MongoServer
from dataflow.testing.proxy import Proxy
from dataflow.testing.servers import ClickHouseServer, RedisServer
from dataflow.up import plan
from dataflow.up.folder import DataFolder
from dataflow.up.restart import Backoff
from dataflow.up.signals import Signals
from dataflow.up.supervisor import Supervisor

CLIENT = 7
PATIENCE_S = 45.0
BEYOND_PATIENCE_S = 6.0
TICKED = "ticked"
"""The edge that runs by a schedule."""


def is_refused(n: int) -> bool:
    """Whether a worker of the flow buries this message. See STEPS."""
    return n % 97 == 5 or n % 101 == 7


class Rig:
    """As a context manager; main thread only.

    Args:
        folder: an empty folder.
        scheduled: whether there is a scheduler, and an edge that runs by its ticks. A tick that is lost is made up for
            after some fifteen seconds only.
        redis: a server that is not entered yet, if it shall be a special one.
    """

    def __init__(self, folder: Path, *, scheduled: bool = False, redis: RedisServer | None = None) -> None:
        self._folder = folder
        self._scheduled = scheduled
        self._own_redis = redis or RedisServer()
        self._stack = ExitStack()
        self._next = 0
        self.accepted = 0
        self.faults = Faults(folder / "faults")

    def __enter__(self) -> Rig:
        try:
            self._start()
        except BaseException:
            self._stack.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def _start(self) -> None:
        enter = self._stack.enter_context
        (self._folder / "faults").mkdir()
        self.redis, self.clickhouse, self.mongo = (
            enter(self._own_redis),
            enter(ClickHouseServer()),
            enter(MongoServer()),
        )
        self.redis_proxy = enter(Proxy("127.0.0.1", self.redis.port))
        self.clickhouse_proxy = enter(Proxy("127.0.0.1", self.clickhouse.port))
        self.mongo_proxy = enter(Proxy("127.0.0.1", self.mongo.port))
        path = self._folder / "flow.yml"
        path.write_text(self._flow_text())
        (self._folder / "steps.py").write_text(STEPS)
        self.flow = load(path)
        self.client = enter(connect(self.redis.url))
        self._warehouse = warehouse.connect(self.clickhouse.url)
        self._run_rooms()

    def _flow_text(self) -> str:
        flow = FLOW if self._scheduled else FLOW.replace(',\n      task: {{second: "*/2"}}}}', "}}")
        text = flow.format(clickhouse=f"clickhouse://127.0.0.1:{self.clickhouse_proxy.port}")
        mongo = self.mongo.url.replace(str(self.mongo.port), str(self.mongo_proxy.port))
        return text.replace("redis: embedded", f"redis: 'redis://127.0.0.1:{self.redis_proxy.port}/0'").replace(
            "mongo: embedded", f"mongo: '{mongo}'"
        )

    def _run_rooms(self) -> None:
        data = DataFolder.of(self.flow.path)
        data.create()
        self._addresses = plan.addresses(self.flow, None, hub_port=0)
        run_file.write(data.path, self._addresses)
        declare.apply(self.flow, self.client)
        supervisor = Supervisor(data.path, lambda _: None, Backoff(first_s=0.05, most_s=0.1))
        self._supervisor = supervisor
        os.environ["DATAFLOW_FAULTS"] = str(self._folder / "faults")
        self._stack.callback(os.environ.pop, "DATAFLOW_FAULTS", None)
        self._stack.callback(self._stop, supervisor)
        supervisor.start(plan.rooms(self.flow, self._addresses))
        self.until("everything is up", lambda: supervisor.ready)

    @staticmethod
    def _stop(supervisor: Supervisor) -> None:
        with Signals() as signals:
            signals.stops = 1
            supervisor.stop(signals)

    # what a cell does

    def send(self, n: int = 40) -> range:
        """Send messages as a client does that keeps at it. Returns their numbers when all were accepted."""
        first, self._next = self._next, self._next + n
        with Hub(self._addresses.hub, timeout_s=6, patience_s=PATIENCE_S) as hub:
            hub.send([made(SENT, CLIENT, i) for i in range(first, self._next)])
        self.accepted = self._next
        return range(first, self._next)

    @contextmanager
    def load(self) -> Iterator[None]:
        """A client that sends all the time, in a thread of its own, from shortly before to shortly after."""
        ends = threading.Event()

        def keep_sending() -> None:
            while not ends.wait(0.05):
                self.send(20)

        with ThreadPoolExecutor(1) as pool:
            sending = pool.submit(keep_sending)
            before = self._next
            self.until("the load has begun", lambda: self._next >= before + 40)
            yield
            after = self._next
            self.until("the load goes on", lambda: sending.done() or self._next >= after + 60)
            ends.set()
            self.until("the last request was answered", sending.done)
            sending.result()

    def pause(self, seconds: float) -> None:
        """Let a fault last; processes are kept up meanwhile."""
        ends = time.monotonic() + seconds
        self.until("the time is over", lambda: time.monotonic() >= ends)

    @contextmanager
    def stalled(self, proxy: Proxy) -> Iterator[None]:
        """Let a stall last while the flow waits, for longer than any call to a server does."""
        timer = threading.Timer(BEYOND_PATIENCE_S, proxy.release)
        timer.start()
        try:
            yield
        finally:
            timer.cancel()
            proxy.release()

    def until(self, what: str, holds: Callable[[], bool], timeout_s: float = PATIENCE_S) -> None:
        """Keep the processes up until something holds; fail with its name, and the logs, if it does not."""
        deadline = time.monotonic() + timeout_s
        while not holds():
            self._supervisor.tick()
            assert time.monotonic() < deadline, f"not within {timeout_s:g} s: {what}\n{self.left()}\n{self._logs()}"
            time.sleep(0.03)

    def assert_whole(self) -> None:
        """Wait until all that was ever sent has arrived, and check that it is there once, and that the books agree."""
        self.until("everything has arrived", lambda: not self.left())
        expected = {n: 1 for n in range(self._next) if n % 97 != 5}
        assert self.rows("doubled") == expected
        assert self.rows("graded") == {n: 1 for n in expected if not is_refused(n)}
        drifts = [finding for finding in self._audit() if finding.state not in ("ok", "note")]
        assert drifts == []

    @contextmanager
    def documents(self) -> Iterator[Any]:
        """The table of tasks."""
        with pymongo.MongoClient[dict[str, Any]](self.mongo.url) as client:
            yield client["flask_aps"]["task_table"]

    def wish(self, state: str) -> None:
        """Say what the scheduled edge should be."""
        with self.documents() as table:
            table.update_one({"_id": f"chaos.{TICKED}"}, {"$set": {"set_to_status": state}})

    def state(self) -> str:
        """What the scheduler says that the scheduled edge is."""
        with self.documents() as table:
            found = table.find_one({"_id": f"chaos.{TICKED}"})
        return str(found["running_status"]) if found else ""

    def record(self) -> dict[str, Any]:
        """What the scheduler has written down of the runs of the scheduled edge."""
        with pymongo.MongoClient[dict[str, Any]](self.mongo.url) as client:
            return client["flask_aps"]["task_run"].find_one({"_id": f"chaos.{TICKED}"}) or {}

    def last_tick(self) -> int:
        """The last tick of the scheduled edge that has fired, as Redis knows it (ms since 1970)."""
        key = Keys(self.flow.name).scheduler(self.flow.machine)
        return int(self.client.hget(key, f"tick.chaos.{TICKED}") or 0)

    def pid(self, name: str) -> int | None:
        """The process of a room."""
        (status,) = [one for one in self._supervisor.status if one.name == name]
        return status.process.pid if status.process is not None else None

    def kill(self, name: str) -> None:
        """kill -9 of a room's process."""
        pid = self.pid(name)
        assert pid is not None
        os.kill(pid, signal.SIGKILL)

    @contextmanager
    def frozen(self, *rooms: str) -> Iterator[None]:
        """Rooms stand still, with all their processes."""
        groups = [process for name in rooms for process in self._below(self.pid(name) or 0)]
        for pid in groups:
            os.kill(pid, signal.SIGSTOP)
        try:
            yield
        finally:
            for pid in groups:
                os.kill(pid, signal.SIGCONT)

    @staticmethod
    def _below(pid: int) -> list[int]:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        return [pid, *map(int, children)]

    # what is there

    @property
    def hub_url(self) -> str:
        """Where the hub is."""
        return self._addresses.hub

    def memory(self) -> int:
        """Bytes that Redis uses."""
        return int(self.client.info("memory")["used_memory"])

    def left(self) -> str:
        """What has not arrived, in words; "" if all has."""
        try:
            views = read_streams(self.flow, {"main": self.client})
        except DataflowError as error:
            return str(error)
        return "; ".join(
            f"{view.name} holds {view.books.length} for {view.holders}; " + f"{[g for g in view.groups if g.waiting]}"
            for view in views
            if view.books.length or any(group.waiting for group in view.groups)
        )

    def rows(self, table: str) -> dict[int, int]:
        """Message -> how many rows a table has of it."""
        rows = self._warehouse.rows(f"SELECT n, count() AS rows FROM {table} GROUP BY n ORDER BY n LIMIT 1000000")
        return {int(row["n"]): int(row["rows"]) for row in rows}

    def _audit(self) -> list[Finding]:
        return list(audit(self.flow, {"main": self.client}, {"warehouse": Tables(self._warehouse)}))

    def _logs(self) -> str:
        logs = (self._folder / ".dataflow/logs").glob("*.log")
        return "\n".join(f"--- {path.name}\n{path.read_text(errors='replace')[-2500:]}" for path in logs)
