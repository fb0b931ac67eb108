"""`dataflow sync` as a process: it moves, it listens to Celery, it stops at once, it may be killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from celery import Celery

from dataflow import run_file, warehouse
from dataflow.broker import broker_url, queue_of
from dataflow.errors import ServerAway
from dataflow.process import ProcessId
from dataflow.run_file import RunFile, WarehouseAddress
from dataflow.store.live import live
from dataflow.store.redis import call
from dataflow.testing.servers import RedisServer
from dataflow.up.ports import free_port
from tests.sync.lab import Lab, until

pytestmark = [pytest.mark.integration, pytest.mark.acceptance]

EDGES = """
flow: water
connections:
  main: {redis: "%s"}
streams:
  a.stream_in: {max_len: 1000000}
  b.stream_in: {keep: {messages: 100000}, max_len: 1000000}
  c.stream_in: {max_len: 1000000}
  d.stream_in: {keep: {messages: 100000}, max_len: 1000000}
edges:
  move: {kind: s2s, from: a.stream_in, to: b.stream_in, batch: 50}
  asked: {kind: s2s, from: c.stream_in, to: d.stream_in, batch: 5, task: external}
"""

ARCHIVE = """
flow: water
connections:
  main: {redis: "%s"}
  warehouse: {clickhouse: embedded}
streams:
  a.stream_in: {schema: {n: int}, max_len: 1000000}
edges:
  archive: {kind: s2ch, from: a.stream_in, to: warehouse.archive, create_table: true, batch: 100, lease_s: 1}
"""


class Site:
    """A folder of a user, with a folder `sync/` of the user's own in it."""

    def __init__(self, folder: Path, url: str, text: str, edge: str) -> None:
        self.path = folder / "flow.yml"
        self.path.write_text(text % url)
        (folder / "sync").mkdir()
        (folder / "sync" / "__init__.py").write_text("raise RuntimeError('the wrong sync was imported')\n")
        self.lab = Lab(url, self._one_edge(text % url, edge))
        self.text = text % url

    @staticmethod
    def _one_edge(text: str, edge: str) -> str:
        head, _, edges = text.partition("edges:\n")
        kept = [line for line in edges.splitlines() if line.startswith(f"  {edge}:")]
        streams = [line for line in head.splitlines() if not line.startswith(("  a.", "  b.", "  c.", "  d."))]
        wanted = [line for line in head.splitlines() if line not in streams and line.split(":")[0].strip() in kept[0]]
        return "\n".join([*streams, *wanted, "edges:", *kept])

    def start(self) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-P", "-m", "dataflow", "sync", str(self.path)],
            cwd=self.path.parent, stderr=subprocess.PIPE, text=True, start_new_session=True,
        )  # fmt: skip

    def command(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-P", "-m", "dataflow", *arguments],
            cwd=self.path.parent, capture_output=True, text=True, timeout=120, check=False,
        )  # fmt: skip

    @contextmanager
    def running(self) -> Iterator[subprocess.Popen[str]]:
        process = self.start()
        try:
            until(lambda: bool(self.beats()) or process.poll() is not None, 60)
            assert process.poll() is None, process.communicate()[1]
            yield process
        finally:
            end(process)

    def beats(self) -> list[Any]:
        return live(self.lab.redis, self.lab.keys)


def end(process: subprocess.Popen[str]) -> None:
    process.kill()
    process.wait()
    assert process.stderr is not None
    process.stderr.close()


@pytest.fixture
def site(redis_url: str, tmp_path: Path) -> Iterator[Site]:
    site = Site(tmp_path, redis_url, EDGES, "move")
    assert site.command("apply").returncode == 0
    yield site
    site.lab.close()


def test_it_moves_what_comes_and_says_that_it_lives(site: Site) -> None:
    with site.running() as process:
        site.lab.fill(500)
        until(lambda: len(site.lab.arrived()) == 500)
        (beat,) = site.beats()
        assert (beat.kind, beat.process) == ("sync", f"sync@{os.uname().nodename}.{process.pid}")
        until(lambda: site.beats()[0].facts["edges"] == {"move": "empty"} and site.lab.waiting() == 0)
    site.lab.each_once()


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_at_once_and_in_order(site: Site, signum: signal.Signals) -> None:
    with site.running() as process:
        site.lab.fill(5000)
        until(lambda: len(site.lab.arrived()) > 0)
        began = time.monotonic()
        process.send_signal(signum)
        assert process.wait(20) == 0
        assert time.monotonic() - began < 5
    assert site.beats() == []
    assert "until_ms" not in site.lab.lane_state(), "the lease was released"
    site.lab.run()
    site.lab.each_once()


def test_it_ends_though_redis_stands_still(own_redis: RedisServer, tmp_path: Path) -> None:
    site = Site(tmp_path, own_redis.url, EDGES, "move")
    site.command("apply")
    with site.running() as process:
        own_redis.freeze()
        process.send_signal(signal.SIGTERM)
        assert process.wait(15) == 0, "one call in hand (5 s), one to say that it leaves, and some patience with Celery"
        own_redis.thaw()


def test_it_ends_though_redis_is_gone(own_redis: RedisServer, tmp_path: Path) -> None:
    site = Site(tmp_path, own_redis.url, EDGES, "move")
    site.command("apply")
    with site.running() as process:
        own_redis.stop()
        process.send_signal(signal.SIGTERM)
        assert process.wait(40) == 0


def test_it_goes_on_when_redis_comes_back(own_redis: RedisServer, tmp_path: Path) -> None:
    site = Site(tmp_path, own_redis.url, EDGES, "move")
    site.command("apply")
    with site.running():
        site.lab.fill(500)
        until(lambda: len(site.lab.arrived()) == 500)
        own_redis.kill()
        own_redis.start()
        site.lab.redis.connection_pool.disconnect()
        site.lab.fill(500)
        until(lambda: len(site.lab.arrived()) == 1000)
        assert site.command("run", "asked").returncode == 0
    site.lab.each_once()


def test_killed_again_and_again_under_load_it_moves_everything_once(site: Site) -> None:
    for n in range(5):
        with site.running():
            site.lab.fill(3000)
            until(lambda n=n: len(site.lab.arrived()) > n * 3000 + 500)  # type: ignore[misc]
    with site.running():
        until(lambda: site.lab.waiting() == 0)
    site.lab.each_once()


def test_two_of_them_are_as_good_as_one(site: Site) -> None:
    with site.running(), site.running():
        for _ in range(10):
            site.lab.fill(500)
        until(lambda: site.lab.waiting() == 0)
    site.lab.each_once()


def test_a_flow_that_is_applied_anew_is_followed(site: Site) -> None:
    with site.running():
        site.lab.fill(50)
        until(lambda: site.lab.waiting() == 0)
        site.path.write_text(site.text.replace("b.stream_in: {", "b.stream_in: {schema: {n: int}, "))
        assert site.command("apply").returncode == 0
        until(lambda: bool(_dead_after_fill(site)))
    assert site.lab.dead()[0]["_dead_error"].startswith("n (int)")


def _dead_after_fill(site: Site) -> list[dict[str, str]]:
    if not site.lab.waiting():  # one by one: many at once would look like a drift of the schema, and pause the edge
        site.lab.fill(1, n="many")
    return site.lab.dead()


def test_a_flow_file_with_problems_is_refused(site: Site) -> None:
    site.path.write_text("flow: [")
    done = site.command("sync")
    assert done.returncode == 1
    assert "flow.yml:1" in done.stderr


class Asked(Site):
    """A site whose edge runs when Celery is told to."""

    def __init__(self, folder: Path, url: str) -> None:
        super().__init__(folder, url, EDGES, "asked")
        broker = broker_url(url, {})
        self.celery = Celery(broker=broker, backend=broker)

    def send(self, edge: str, task: str = "dataflow.run_edge", **options: Any) -> Any:
        return self.celery.send_task(task, (edge,), kwargs=options, ignore_result=False, queue=queue_of("water"))


class TestCelery:
    @pytest.fixture
    def asked(self, redis_url: str, tmp_path: Path) -> Iterator[Asked]:
        asked = Asked(tmp_path, redis_url)
        assert asked.command("apply").returncode == 0
        yield asked
        asked.celery.close()
        asked.lab.close()

    def test_an_edge_runs_when_it_is_asked_for(self, asked: Asked) -> None:
        asked.lab.fill(23)
        with asked.running():
            told = asked.send("asked", tick=1, max_batches=2).get(timeout=30)
            assert (told["state"], told["read"], told["remaining"]) == ("more", 10, 13)
            told = asked.send("asked", "dataflow.s2s").get(timeout=30)
            assert (told["state"], told["read"]) == ("empty", 13)
        asked.lab.each_once()

    def test_hints_that_make_no_sense_do_no_harm(self, asked: Asked) -> None:
        with asked.running():
            told = asked.send("nothing").get(timeout=30)
            assert told["state"] == "unknown-edge"
            assert "asked, move" in told["error"] or "move, asked" in told["error"]
            assert asked.send("asked", "dataflow.s2ch").get(timeout=30)["state"] == "unknown-edge"

    def test_many_hints_at_once_do_no_harm(self, asked: Asked) -> None:
        asked.lab.fill(500)
        with asked.running():
            answers = [asked.send("asked") for _ in range(10)]
            states = {answer.get(timeout=60)["state"] for answer in answers}
        assert states <= {"empty", "held", "fenced"}
        asked.lab.each_once()

    def test_a_run_that_was_asked_for_stops_between_batches(self, asked: Asked) -> None:
        for _ in range(40):
            asked.lab.fill(500)
        with asked.running() as process:
            asked.send("asked")
            until(lambda: len(asked.lab.arrived()) > 0)
            began = time.monotonic()
            process.send_signal(signal.SIGTERM)
            assert process.wait(20) == 0
            assert time.monotonic() - began < 5
        assert asked.lab.waiting() > 0
        assert "until_ms" not in asked.lab.lane_state()

    def test_a_plain_celery_worker_runs_it_too_and_ends_in_order(self, asked: Asked) -> None:
        asked.lab.fill(23)
        worker = subprocess.Popen(
            [sys.executable, "-P", "-m", "celery", "-A", "sync.app:celery_", "worker", "--pool", "threads"],
            cwd="/",  # not in the user's folder: Celery would take its `sync/` for ours
            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
            env={**os.environ, "DATAFLOW_FLOW": str(asked.path)}, start_new_session=True,
        )  # fmt: skip
        try:
            told = asked.send("asked").get(timeout=60)
            assert (told["state"], told["read"]) == ("empty", 23)
            worker.send_signal(signal.SIGTERM)
            assert worker.wait(30) == 0
        finally:
            end(worker)
        asked.lab.each_once()
        assert "until_ms" not in asked.lab.lane_state(), "the lease was released"

    def test_the_command_runs_an_edge_in_its_own_process(self, asked: Asked) -> None:
        asked.lab.fill(23)
        done = asked.command("run", "asked", "--max-batches", "1")
        assert done.returncode == 0, done.stderr
        assert done.stdout.startswith("edge asked: more; 5 messages moved in ")
        asked.lab.lane().pause("for lunch")
        done = asked.command("run", "asked")
        assert (done.returncode, "for lunch" in done.stderr) == (1, True)
        done = asked.command("resume", "asked")
        assert (done.returncode, done.stdout) == (0, "edge asked goes on\n")
        assert asked.command("run", "asked").returncode == 0
        asked.lab.each_once()
        assert asked.command("run", "nothing").returncode == 2
        assert asked.command("resume").returncode == 2


class TestWarehouse:
    @pytest.fixture
    def archive(self, redis_url: str, tmp_path: Path) -> Iterator[Site]:
        """As below a `dataflow up`: the run file says where the warehouse listens."""
        site = Site(tmp_path, redis_url, ARCHIVE, "archive")
        folder = run_file.data_folder(site.path)
        folder.mkdir()
        self.address = WarehouseAddress("127.0.0.1", free_port(), "secret")
        up = ProcessId.own()
        run_file.write(folder, RunFile(flow="water", up=up, hub="", warehouse={"warehouse": self.address}))
        assert site.command("apply").returncode == 0
        yield site
        site.lab.close()

    def rows(self, sql: str) -> list[dict[str, Any]]:
        return warehouse.connect(self.address).rows(sql)

    def answers(self) -> bool:
        """Whether the process that owns the warehouse is there again."""
        try:
            return self.rows("SELECT 1 AS one") == [{"one": 1}]
        except ServerAway:
            return False

    def test_it_hosts_the_embedded_warehouse(self, archive: Site) -> None:
        archive.lab.fill(250)
        with archive.running() as process:
            until(lambda: archive.lab.waiting() == 0)
            assert self.rows("SELECT count() AS n, uniqExact(_mid) AS ids FROM archive") == [{"n": 250, "ids": 250}]
            archive.lab.fill(50)
            done = archive.command("run", "archive")
            assert "edge archive:" in done.stdout, done.stderr
            until(lambda: archive.lab.waiting() == 0)
            process.send_signal(signal.SIGTERM)
            assert process.wait(30) == 0
        with archive.running():
            assert self.rows("SELECT count() AS n FROM archive") == [{"n": 300}]

    def test_killed_while_it_inserts_it_stores_everything_once(self, archive: Site) -> None:
        for n in range(3):
            with archive.running():
                archive.lab.fill(2000)
                until(lambda n=n: archive.lab.waiting() < 1500)  # type: ignore[misc]
        with archive.running():
            until(lambda: archive.lab.waiting() == 0 and self.answers())
            found = self.rows("SELECT count() AS n, uniqExact(_mid) AS ids FROM archive")
            assert found == [{"n": 6000, "ids": 6000}]
        assert call(archive.lab.redis, "HLEN", archive.lab.keys.alarms) == 0
