"""`dataflow up` and `dataflow down` as a user runs them. Their behaviour under load: tests/acceptance."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from dataflow import run_file
from dataflow.errors import DataflowError
from dataflow.testing.servers import RedisServer
from dataflow.up import leftovers
from dataflow.up.child import FOLDER_VARIABLE
from dataflow.up.folder import DataFolder
from tests.acceptance.project import FLOW, STEPS, Project, eventually

pytestmark = pytest.mark.acceptance

STUBBORN = "import signal; signal.signal(15, signal.SIG_IGN); print(1, flush=True); signal.pause()"


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Project]:
    project = Project(tmp_path)
    yield project
    assert project.command("down").returncode == 0, project.logs()
    assert leftovers.end(folder_of(project).path, patience_s=0.5) == []


def folder_of(project: Project) -> DataFolder:
    return DataFolder.of(project.flow)


def send(project: Project, *numbers: int) -> None:
    messages = [{"rec_id": f"r{n}", "task_for": "t", "function_type": "f", "n": n} for n in numbers]
    answer = httpx.post(f"{project.run.hub}/message_hub/", json=messages)
    assert answer.status_code == 202, answer.text


def stored(project: Project) -> list[int]:
    """What has arrived in the warehouse; nothing while it or its table is not there."""
    try:
        return [row["twice"] for row in project.rows("SELECT twice FROM doubled ORDER BY twice")]
    except DataflowError:
        return []


def is_running(project: Project) -> bool:
    """Whether every child does its work at this moment."""
    run = run_file.read(folder_of(project).path)
    return run is not None and run.in_force and {c.state for c in run.children.values()} == {"running"} and run.ready


def reason_of(project: Project, child: str) -> str:
    """Why a child ended last."""
    run = run_file.read(folder_of(project).path)
    return run.children[child].reason if run is not None and child in run.children else ""


def test_it_runs_twice_in_a_row_on_the_same_data_but_not_twice_at_once(project: Project) -> None:
    project.up()
    first = project.run
    for arguments in (["up"], ["up", "-d"]):
        second = project.command(*arguments)
        assert second.returncode == 2
        assert f"already runs in {project.folder} (pid {first.up.pid})" in second.stderr
    send(project, 1, 2)
    eventually("two rows", lambda: stored(project) == [2, 4])
    project.down()
    assert leftovers.find(folder_of(project).path) == []
    assert "is not running" in project.command("status").stderr
    project.up()
    assert (project.run.redis, project.run.hub) == (first.redis, first.hub)
    send(project, 3)
    eventually("a third row", lambda: stored(project) == [2, 4, 6])
    project.audit()


def test_what_an_earlier_run_left_behind_is_ended_first_and_nothing_else(project: Project) -> None:
    folder = folder_of(project)
    folder.create()
    ours, other = (
        subprocess.Popen(
            [sys.executable, "-c", STUBBORN],
            env={**os.environ, FOLDER_VARIABLE: str(path)},
            stdout=subprocess.PIPE,
            text=True,
        )
        for path in (folder.path, project.folder / "elsewhere")
    )
    for process in (ours, other):
        assert process.stdout is not None and process.stdout.readline() == "1\n"
        process.stdout.close()
    project.up()
    assert ours.wait(timeout=5) == -signal.SIGKILL
    assert other.poll() is None
    assert f"ended process {ours.pid}, left behind by an earlier run" in project.logs()
    other.kill()
    other.wait()


def test_down_where_nothing_runs_is_no_error(project: Project) -> None:
    assert "nothing runs" in project.command("down").stderr


def test_ctrl_c_stops_in_order_and_a_child_that_was_killed_came_back(project: Project) -> None:
    up = project.start("up", "--hub-port", "0")
    eventually("everything is up", lambda: is_running(project) or up.poll() is not None)
    before = project.run
    redis = before.children["redis.main"].process
    assert redis is not None
    redis.send(signal.SIGKILL)
    eventually("redis is there again", lambda: project.run.children["redis.main"].restarts == 1 and is_running(project))
    send(project, 1)
    eventually("a row", lambda: stored(project) == [2])
    up.send_signal(signal.SIGINT)
    stdout, stderr = up.communicate(timeout=60)
    assert up.returncode == 0, stderr
    assert before.hub in stdout and "dataflow send" in stdout
    assert "redis.main ended by SIGKILL" in stderr
    assert stderr.rstrip().endswith("stopped")
    assert "was killed" not in stderr


def test_a_handler_that_cannot_be_loaded_is_shown_with_its_reason(project: Project) -> None:
    steps = project.folder / "steps.py"
    steps.write_text("import no_such_module\n\ndef double(message):\n    return message\n")
    done = project.command("up", "-d", "--hub-port", "0", "--timeout", "0.1")
    assert done.returncode == 3
    assert "not everything is up after 0.1 s; it goes on trying" in done.stderr
    eventually("the reason is told", lambda: "no_such_module" in reason_of(project, "worker.double"))
    assert not is_running(project)
    steps.write_text(STEPS)
    eventually("the worker runs", lambda: is_running(project))


def test_a_taken_hub_port_stops_it_before_anything_starts(project: Project) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        done = project.command("up", "-d", "--hub-port", port)
    assert done.returncode == 1
    assert f"port {port} for the message hub is taken" in done.stderr
    assert run_file.read(folder_of(project).path) is None


def test_a_server_of_the_users_own_is_used_and_none_is_started(project: Project, own_redis: RedisServer) -> None:
    mine = f"connections:\n  mine: {{redis: '{own_redis.url}'}}\n  warehouse: {{clickhouse: embedded}}\n"
    project.flow.write_text(FLOW.replace("streams:\n", f"{mine}streams:\n", 1))
    project.up()
    assert project.run.redis == {} and "redis.mine" not in project.run.children
    (entry,) = json.loads(project.command("history", "--json").stdout)
    assert entry["who"].startswith("up@") and (entry["what"], entry["subject"]) == ("apply", "kills")
    assert entry["facts"]["revisions"] == {"mine": 1}
    send(project, 1)
    eventually("a row", lambda: stored(project) == [2])
    project.down()
    with own_redis.client() as client:
        assert client.exists("{kills}:meter.stream_in:groups")


def test_what_was_applied_after_many_tries_is_noted_once(project: Project, own_redis: RedisServer) -> None:
    """One of two servers is away at first; the other is asked by each try."""
    with RedisServer() as other:
        connections = f"mine: {{redis: '{own_redis.url}'}}", f"late: {{redis: '{other.url}'}}"
        head = "".join(f"  {one}\n" for one in (*connections, "warehouse: {clickhouse: embedded}"))
        text = FLOW.replace("    schema:", "    on: mine\n    schema:")
        late = "  late.stream_in: {on: late, keep: {messages: 10}}\n"
        project.flow.write_text(text.replace("streams:\n", f"connections:\n{head}streams:\n{late}", 1))
        other.kill()
        up = project.start("up", "--hub-port", "0")
        with own_redis.client() as client:
            eventually("many tries", lambda: client.info("stats")["total_connections_received"] >= 8)
            other.restart()
            eventually("everything is up", lambda: is_running(project) or up.poll() is not None)
        told = project.command("history", "--json")
        assert told.returncode == 0, told.stderr
        assert [(one["what"], sorted(one["facts"]["revisions"])) for one in json.loads(told.stdout)] == [
            ("apply", ["late", "mine"])
        ]
        up.send_signal(signal.SIGINT)
        _, stderr = up.communicate(timeout=60)
        assert up.returncode == 0, stderr


def test_mistakes_in_the_flow_file_are_told_before_anything_starts(project: Project) -> None:
    project.flow.write_text(FLOW.replace("from: meter.stream_in", "from: meter.stream_im"))
    done = project.command("up", "-d")
    assert done.returncode == 1 and "flow.yml:" in done.stderr
    assert not folder_of(project).path.exists()
