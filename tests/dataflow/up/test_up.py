"""`dataflow up` and `dataflow down` as a user runs them."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from dataflow import run_file
from dataflow.run_file import RunFile
from dataflow.testing.servers import RedisServer
from dataflow.up import leftovers
from dataflow.up.child import FOLDER_VARIABLE
from dataflow.up.folder import DataFolder

pytestmark = pytest.mark.acceptance

FLOW = """
flow: small
connections:
  main: {redis: "${SMALL_REDIS_URL:embedded}"}
  warehouse: {clickhouse: embedded}
streams:
  a.stream_in: {accepts: {task_for: a, function_type: f}, schema: {rec_id: str, n: int}}
  a.stream_out: {schema: {rec_id: str, n: int}}
workers:
  double: {from: a.stream_in, to: a.stream_out, handler: "handlers:double"}
edges:
  keep: {kind: s2ch, from: a.stream_out, to: warehouse.doubled, create_table: true}
"""
HANDLER = "def double(message):\n    return {'rec_id': message['rec_id'], 'n': message['n'] * 2}\n"
COMMAND = [sys.executable, "-P", "-m", "dataflow"]
STUBBORN = "import signal; signal.signal(15, signal.SIG_IGN); print(1, flush=True); signal.pause()"


class Place:
    """A user's folder with a flow in it, and the commands that are run there."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.data = DataFolder.of(folder / "flow.yml")
        self.environment: dict[str, str] = {}
        (folder / "flow.yml").write_text(FLOW)
        (folder / "handlers.py").write_text(HANDLER)

    def run(self, *arguments: str, code: int = 0) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            [*COMMAND, *arguments], cwd=self.folder, env=self._env(), capture_output=True, text=True, timeout=120
        )
        assert done.returncode == code, (done.stdout, done.stderr, self.logs())
        return done

    def up(self) -> RunFile:
        self.run("up", "-d", "--hub-port", "0")
        return self.addresses()

    def up_in_front(self) -> subprocess.Popen[str]:
        up = subprocess.Popen(
            [*COMMAND, "up", "--hub-port", "0"],
            cwd=self.folder,
            env=self._env(),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.until(lambda: self.is_ready() or up.poll() is not None)
        return up

    def addresses(self) -> RunFile:
        run = run_file.read(self.data.path)
        assert run is not None
        return run

    def is_ready(self) -> bool:
        run = run_file.read(self.data.path)
        return run is not None and run.in_force and run.ready

    def is_running(self) -> bool:
        """Whether every child does its work at this moment."""
        run = self.addresses()
        return run.in_force and all(child.state == "running" for child in run.children.values())

    def send(self, *numbers: int) -> None:
        messages = [{"rec_id": f"r{n}", "task_for": "a", "function_type": "f", "n": n} for n in numbers]
        answer = httpx.post(f"{self.addresses().hub}/message_hub/", json=messages)
        assert answer.status_code == 202, answer.text

    def stored(self) -> list[str]:
        done = subprocess.run(
            [*COMMAND, "sql", "SELECT n FROM doubled ORDER BY n"],
            cwd=self.folder,
            env=self._env(),
            capture_output=True,
            text=True,
            timeout=60,
        )
        return done.stdout.split()[1:]

    def until(self, condition: Callable[[], bool], within_s: float = 60) -> None:
        deadline = time.monotonic() + within_s
        while not condition():
            assert time.monotonic() < deadline, self.logs()
            time.sleep(0.05)

    def logs(self) -> str:
        return "\n".join(f"--- {log.name}\n{log.read_text()[-3000:]}" for log in self.data.logs.glob("*.log"))

    def _env(self) -> dict[str, str]:
        return {**os.environ, **self.environment}


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    place = Place(tmp_path)
    yield place
    place.run("down")
    assert leftovers.find(place.data.path) == []


def test_it_runs_twice_in_a_row_on_the_same_data(place: Place) -> None:
    first = place.up()
    place.send(1, 2)
    place.until(lambda: place.stored() == ["2", "4"])
    place.run("down")
    assert leftovers.find(place.data.path) == []
    second = place.up()
    assert (second.redis, second.hub) == (first.redis, first.hub)
    place.send(3)
    place.until(lambda: place.stored() == ["2", "4", "6"])
    place.run("audit")


def test_after_kill_9_nothing_is_left_running_and_it_starts_again(place: Place) -> None:
    run = place.up()
    place.send(1)
    assert run.up.send(signal.SIGKILL)
    place.until(lambda: leftovers.find(place.data.path) == [])
    assert "is not running" in place.run("status", code=3).stderr
    place.up()
    place.until(lambda: place.stored() == ["2"])
    place.run("audit")


def test_what_an_earlier_run_left_behind_is_ended_first_and_nothing_else(place: Place) -> None:
    place.data.create()
    ours, other = (
        subprocess.Popen(
            [sys.executable, "-c", STUBBORN],
            env={**os.environ, FOLDER_VARIABLE: str(folder)},
            stdout=subprocess.PIPE,
            text=True,
        )
        for folder in (place.data.path, place.folder / "elsewhere")
    )
    for process in (ours, other):
        assert process.stdout is not None and process.stdout.readline() == "1\n"
        process.stdout.close()
    place.up()
    assert ours.wait(timeout=5) == -signal.SIGKILL
    assert other.poll() is None
    assert f"ended process {ours.pid}, left behind by an earlier run" in place.logs()
    other.kill()
    other.wait()


def test_a_second_one_is_told_who_runs_already(place: Place) -> None:
    pid = place.up().up.pid
    for arguments in (["up"], ["up", "-d"]):
        assert f"already runs in {place.folder} (pid {pid})" in place.run(*arguments, code=2).stderr
    assert place.is_ready()


def test_down_where_nothing_runs_is_no_error(place: Place) -> None:
    assert "nothing runs" in place.run("down").stderr


def test_ctrl_c_stops_in_order_and_a_child_that_was_killed_came_back(place: Place) -> None:
    up = place.up_in_front()
    before = place.addresses()
    redis = before.children["redis.main"].process
    assert redis is not None
    place.send(1)
    redis.send(signal.SIGKILL)
    place.until(lambda: place.addresses().children["redis.main"].restarts == 1)
    place.until(place.is_running)
    place.until(lambda: place.stored() == ["2"])
    up.send_signal(signal.SIGINT)
    stdout, stderr = up.communicate(timeout=60)
    assert up.returncode == 0, stderr
    assert before.hub in stdout and "dataflow send" in stdout
    assert "redis.main ended by SIGKILL" in stderr
    assert stderr.rstrip().endswith("stopped")
    assert "was killed" not in stderr


def test_a_handler_that_cannot_be_loaded_is_shown_with_its_reason(place: Place) -> None:
    (place.folder / "handlers.py").write_text("import no_such_module\n\ndef double(message):\n    return message\n")
    told = place.run("up", "-d", "--hub-port", "0", "--timeout", "8", code=3).stderr
    assert "worker.double is " in told and "no_such_module" in told
    (place.folder / "handlers.py").write_text(HANDLER)
    place.until(place.is_ready)


def test_a_folder_called_like_a_room_does_not_get_in_the_way(place: Place) -> None:
    for room in ("workers", "sync", "message_hub", "dataflow"):
        (place.folder / room).mkdir()
        (place.folder / room / "__init__.py").write_text("raise ImportError('the wrong one')\n")
    place.up()
    place.send(4)
    place.until(lambda: place.stored() == ["8"])


def test_a_taken_hub_port_stops_it_before_anything_starts(place: Place) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        told = place.run("up", "-d", "--hub-port", port, code=1).stderr
    assert f"port {port} for the message hub is taken" in told
    assert run_file.read(place.data.path) is None


def test_a_server_of_the_users_own_is_used_and_none_is_started(place: Place, own_redis: RedisServer) -> None:
    place.environment["SMALL_REDIS_URL"] = own_redis.url
    run = place.up()
    assert "redis.main" not in run.children and run.redis == {}
    place.send(1)
    place.until(lambda: place.stored() == ["2"])
    place.run("down")
    with own_redis.client() as client:
        assert client.exists("{small}:a.stream_in:groups")


def test_mistakes_in_the_flow_file_are_told_before_anything_starts(place: Place) -> None:
    (place.folder / "flow.yml").write_text(FLOW.replace("from: a.stream_in", "from: b.stream_in"))
    assert "flow.yml:" in place.run("up", "-d", code=1).stderr
    assert not place.data.path.exists()
