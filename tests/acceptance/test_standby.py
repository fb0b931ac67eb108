"""Two schedulers and two sync processes on one flow, against servers of their own; everything is killed in turn."""

from __future__ import annotations

import json
import threading
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import pymongo
import pytest
from pymongo.errors import PyMongoError

from dataflow.errors import DataflowError
from dataflow.flow.load import load
from dataflow.testing.mongo import MongoServer
from dataflow.testing.servers import ClickHouseServer, RedisServer
from dataflow.up.ports import free_port
from dataflow.warehouse import connect
from tests.acceptance.load import Load
from tests.acceptance.project import STEPS, Project, eventually
from tests.acceptance.site import READY_S, Process, door, runner

pytestmark = pytest.mark.acceptance

FLOW = """
flow: pairs
connections:
  main:      {redis: "%s"}
  warehouse: {clickhouse: "%s"}
  tasks:     {mongo: "%s"}
streams:
  meter.stream_in:
    accepts: {task_for: t, function_type: f}
    schema: {rec_id: str, task_for: str, function_type: str, n: int}
  meter.stream_out: {schema: {rec_id: str, twice: int}}
  store.stream_in:  {schema: {rec_id: str, twice: int}}
workers:
  double: {from: meter.stream_in, to: meter.stream_out, handler: "steps:double", lease_s: 2}
edges:
  onward:  {kind: s2s, from: meter.stream_out, to: store.stream_in, task: {second: "*"}}
  archive: {kind: s2ch, from: store.stream_in, to: warehouse.doubled, create_table: true, task: {second: "*/2"}}
"""


class History:
    """Reads the runs of all tasks again and again: a document keeps the last twenty only."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._enough = threading.Event()
        self.ended: set[tuple[str, int, int]] = set()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Look a last time."""
        self._enough.set()
        self._thread.join()
        self._look()

    def _run(self) -> None:
        while not self._enough.wait(0.5):
            try:
                self._look()
            except PyMongoError:  # away; there is nothing to see
                continue

    def _look(self) -> None:
        limits: dict[str, Any] = {"serverSelectionTimeoutMS": 1000, "socketTimeoutMS": 2000}
        with pymongo.MongoClient[dict[str, Any]](self._url, **limits) as client:
            for one in client["flask_aps"]["task_run"].find():
                self.ended |= {(one["_id"], run["tick"], run["ended_at"]) for run in one.get("history", ())}


class Site:
    """The flow `pairs`: three servers, a hub, a worker, two sync processes, two schedulers."""

    def __init__(self, folder: Path, redis: RedisServer, clickhouse: ClickHouseServer, mongo: MongoServer) -> None:
        self.servers = {"redis-server": redis, "clickhouse-server": clickhouse, "mongo": mongo}
        self.project = Project(folder, FLOW % (redis.url, clickhouse.url, mongo.url), STEPS)
        self._table = clickhouse.url
        self._hub_port = free_port()
        self._ports = {name: free_port() for name in ("scheduler-1", "scheduler-2")}
        self.processes = {one.name: one for one in self._processes(folder, redis.url)}

    def _processes(self, folder: Path, redis_url: str) -> Iterator[Process]:
        file, flow = str(self.project.flow), load(self.project.flow)
        ours = {"DATAFLOW_LOG_LEVEL": "info"}
        yield door(folder, "hub", ("hub", file), self._hub_port, ours)
        yield runner(folder, "worker", ("worker", file, "double"), redis_url, flow, ours)
        for name in ("sync-1", "sync-2"):
            yield runner(folder, name, ("sync", file), redis_url, flow, ours)
        for name, port in self._ports.items():
            yield door(folder, name, ("scheduler", file), port, ours)

    @property
    def hub(self) -> str:
        return f"http://127.0.0.1:{self._hub_port}"

    def start(self) -> None:
        """Everything is up, and one scheduler leads."""
        done = self.project.command("apply", str(self.project.flow))
        assert done.returncode == 0, done.stderr
        for process in self.processes.values():
            process.start()
        for process in self.processes.values():
            eventually(f"{process.name} is ready", lambda p=process: p.is_ready, READY_S)  # type: ignore[misc]
        eventually("a scheduler leads", lambda: self.leader() is not None)

    def end(self) -> None:
        for process in self.processes.values():
            process.kill()

    def leader(self) -> str | None:
        """The scheduler that leads."""
        leads = [name for name in self._ports if self._leads(name)]
        return leads[0] if leads else None

    def _leads(self, name: str) -> bool:
        try:
            answer = httpx.get(f"http://127.0.0.1:{self._ports[name]}/readyz", timeout=5, trust_env=False)
        except httpx.HTTPError:
            return False
        return bool(answer.json()["data"].get("leads")) if answer.status_code == 200 else False

    def stored(self) -> int:
        """Rows in the table."""
        try:
            return int(connect(self._table).rows("SELECT count() AS n FROM doubled")[0]["n"])
        except DataflowError:  # it is not there yet, or its server is just being replaced
            return 0

    def rows(self) -> list[dict[str, Any]]:
        return connect(self._table).rows("SELECT rec_id, twice FROM doubled")

    def logs(self, lines: int = 15) -> str:
        """The end of every log, for the message of a failed test."""
        logs = sorted(self.project.folder.glob("*.log"))
        return "\n".join(f"--- {log.name}\n" + "\n".join(log.read_text().splitlines()[-lines:]) for log in logs)

    def kill_process(self, name: str) -> None:
        self.processes[name].kill()
        self.processes[name].start()
        eventually(f"{name} is back", lambda: self.processes[name].is_ready, READY_S)

    def kill_server(self, name: str) -> None:
        self.servers[name].kill()
        self.servers[name].start()


@pytest.fixture
def site(tmp_path: Path, own_redis: RedisServer, own_clickhouse: ClickHouseServer) -> Iterator[Site]:
    with ExitStack() as stack:
        site = Site(tmp_path, own_redis, own_clickhouse, stack.enter_context(MongoServer()))
        stack.callback(site.end)
        site.start()
        yield site


def test_two_of_everything_killed_in_turn_under_load_lose_and_double_nothing(site: Site) -> None:
    history = History(site.servers["mongo"].url)
    with Load(lambda: site.hub) as load:
        for victim in (*site.processes, *site.servers):
            _kill(site, victim, load)
        was = site.leader()
        assert was is not None
        site.processes[was].kill()
        eventually("the standby leads", lambda: site.leader() not in (None, was))
        _flows(site, load, f"{was} was killed for good")
    assert load.problem is None
    eventually("everything accepted is in the table", lambda: site.stored() >= len(load.accepted))
    history.stop()

    rows = site.rows()
    assert len(rows) == len(load.accepted), "no row twice, none that was not sent"
    assert {row["rec_id"] for row in rows} == load.accepted
    assert all(int(row["twice"]) == 2 * int(row["rec_id"][1:]) for row in rows)
    _audit_is_clean(site)
    _each_tick_ran_once(history.ended)


def _kill(site: Site, victim: str, load: Load) -> None:
    if victim in site.servers:
        site.kill_server(victim)
    else:
        site.kill_process(victim)
    _flows(site, load, f"{victim} was killed")


def _flows(site: Site, load: Load, after: str) -> None:
    """What is accepted from now on reaches the table."""
    load.wait_for(60, after)
    accepted = len(load.accepted)
    try:
        eventually(f"rows after {after}", lambda: site.stored() >= accepted)
    except AssertionError as error:
        raise AssertionError(f"{error}\n{site.logs()}") from None


def _audit_is_clean(site: Site) -> None:
    done = site.project.command("audit", "--json")
    assert done.returncode == 0, done.stdout + done.stderr
    found: Mapping[str, Any] = json.loads(done.stdout)
    assert found, "it has looked at something"


def _each_tick_ran_once(ended: set[tuple[str, int, int]]) -> None:
    """Of each tick of each task at most one run has ended."""
    times = Counter((task, tick) for task, tick, _ in ended)
    assert {task for task, _ in times} == {"pairs.onward", "pairs.archive"} and len(times) > 20
    assert [one for one, n in times.items() if n > 1] == []
