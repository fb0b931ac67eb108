"""`dataflow scheduler` as processes: two of them, killed; stopped in good order."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from dataflow.broker import queue_of
from dataflow.process import dies_with_parent
from dataflow.testing.mongo import MongoServer
from dataflow.testing.servers import RedisServer
from dataflow.up.ports import free_port
from tests.scheduler.clients import JobsClient
from tests.scheduler.rig import Rig, eventually
from tests.scheduler.worker import HintTaker

pytestmark = pytest.mark.acceptance


class Process:
    """One `dataflow scheduler`."""

    def __init__(self, rig: Rig, name: str) -> None:
        self.port = free_port()
        self.log = rig.path.with_name(f"{name}.log")
        with self.log.open("ab") as out:
            self._popen = subprocess.Popen(
                [sys.executable, "-P", "-m", "dataflow", "scheduler", str(rig.path), "--port", str(self.port)],
                stdout=out, stderr=out, start_new_session=True, preexec_fn=dies_with_parent(signal.SIGKILL),
                env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
            )  # fmt: skip
        self.client = JobsClient(self.send)

    def send(self, method: str, path: str, body: dict[str, Any] | None) -> dict[str, Any]:
        """One request."""
        url = f"http://127.0.0.1:{self.port}{path}"
        found: dict[str, Any] = httpx.request(method, url, json=body, timeout=20, trust_env=False).json()
        return found

    @property
    def ready(self) -> bool:
        """Whether it answers that it is."""
        try:
            return bool(self.send("GET", "/readyz", None)["status"])
        except (httpx.HTTPError, ValueError):
            return False

    @property
    def leads(self) -> bool:
        """Whether it schedules."""
        return self.ready and bool(self.send("GET", "/readyz", None)["data"]["leads"])

    def kill(self) -> None:
        """End it and its child as a crash of the machine would."""
        os.killpg(self._popen.pid, signal.SIGKILL)
        self._popen.wait()

    def stop(self) -> int:
        """End it in good order."""
        self._popen.terminate()
        return self._popen.wait(timeout=30)

    def end(self) -> None:
        """Whatever is left of it."""
        if self._popen.poll() is None:
            self.kill()


@pytest.fixture
def rig(own_redis: RedisServer, mongo: MongoServer, tmp_path: Path) -> Iterator[Rig]:
    with Rig(own_redis.url, mongo.url, tmp_path) as rig:
        yield rig


@pytest.fixture
def two(rig: Rig) -> Iterator[tuple[Process, Process]]:
    first = Process(rig, "first")
    second = Process(rig, "second")
    try:
        eventually("both are ready", lambda: first.ready and second.ready, 30)
        yield first, second
    finally:
        first.end()
        second.end()


def test_a_standby_takes_over_after_a_kill_and_each_tick_fires_once(rig: Rig, two: tuple[Process, Process]) -> None:
    rig.insert()
    with HintTaker(rig.redis_url, queue_of("f")) as taker:
        eventually("ticks", lambda: len(taker.taken) >= 3, 30)
        leader, standby = sorted(two, key=lambda process: not process.leads)
        assert leader.leads and not standby.leads
        refused = standby.client.pause("t")
        assert not refused["status"] and "another scheduler leads" in refused["msg"]
        leader.kill()
        killed_at = time.time() * 1000
        eventually("ticks after the kill", lambda: bool(taker.taken) and taker.taken[-1][1] > killed_at + 2000, 30)
        assert standby.leads
        assert standby.client.pause("t")["status"] and rig.said() == "paused"
        seen = len(taker.taken)
        until = time.monotonic() + 2.5
        while time.monotonic() < until:
            assert len(taker.taken) == seen, "a paused task does not fire"
            time.sleep(0.05)
    assert len(set(taker.ids)) == len(taker.ids)
    ticks = [tick for _, tick in taker.taken]
    assert len(ticks) == len(set(ticks)), "each tick once"


def test_it_ends_in_good_order_and_the_next_one_leads_at_once(rig: Rig) -> None:
    rig.insert(interval_para={"hour": 3})
    first = Process(rig, "first")
    eventually("it is ready", lambda: first.ready, 30)
    eventually("the task runs", lambda: rig.said() == "running")
    assert first.stop() == 0, first.log.read_text()
    assert "Traceback" not in first.log.read_text()
    second = Process(rig, "second")
    try:
        eventually("the next one leads", lambda: second.leads, 30)
        assert second.client.get_jobs()["data"] == ["t"]
    finally:
        second.end()


def test_without_a_mongodb_it_says_what_to_do(rig: Rig) -> None:
    rig.path.write_text(rig.path.read_text().replace(f'{{mongo: "{rig.mongo_url}"}}', "{mongo: embedded}"))
    done = subprocess.run(
        [sys.executable, "-P", "-m", "dataflow", "scheduler", str(rig.path)],
        capture_output=True, text=True, timeout=60, check=False,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
    )  # fmt: skip
    assert done.returncode == 3 and "DATAFLOW_MONGO_URL" in done.stderr
