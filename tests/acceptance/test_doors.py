"""Services that shall listen where others reach them, for a flow without keys: refused, once and clearly."""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import closing
from http.client import HTTPConnection
from pathlib import Path

import pytest

from dataflow.testing.mongo import MongoServer
from dataflow.testing.servers import RedisServer
from dataflow.up.ports import free_port
from tests.acceptance.project import Project, eventually
from tests.acceptance.site import READY_S, Process, door

pytestmark = pytest.mark.acceptance

FLOW = """
flow: doors
%s
connections:
  main:  {redis: "%s"}
  tasks: {mongo: "%s"}
streams:
  meter.stream_in: {keep: {messages: 100}, schema: {rec_id: str}}
  one.stream_out:  {schema: {rec_id: str}}
  two.stream_in:   {keep: {messages: 100}, schema: {rec_id: str}}
edges:
  onward: {kind: s2s, from: one.stream_out, to: two.stream_in, task: {hour: "3"}}
"""
SERVICES = ("hub", "scheduler", "sync-api")


def run(project: Project, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-P", "-m", "dataflow", *arguments], cwd=project.folder, capture_output=True, text=True,
        timeout=90, env={**os.environ, **environment}, check=False,
    )  # fmt: skip


@pytest.fixture
def project(tmp_path: Path, redis_url: str, mongo: MongoServer) -> Project:
    return Project(tmp_path, FLOW % ("", redis_url, mongo.url))


@pytest.mark.parametrize("service", SERVICES)
@pytest.mark.parametrize("host", ["0.0.0.0", "::"])
def test_a_service_does_not_start_without_keys(project: Project, service: str, host: str) -> None:
    done = run(project, service, "flow.yml", "--host", host, "--port", str(free_port()))
    assert done.returncode == 2 and "has no keys" in done.stderr and "dataflow key new" in done.stderr
    assert "Traceback" not in done.stderr and "Booting worker" not in done.stderr


@pytest.mark.parametrize("service", SERVICES)
def test_it_starts_and_asks_for_a_key_once_there_is_one(project: Project, service: str) -> None:
    assert run(project, "apply").returncode == 0
    assert run(project, "key", "new", "gateway", "--scope", "produce").returncode == 0
    process: Process = door(project.folder, service, (service, "flow.yml", "--host", "0.0.0.0"), free_port(), {})
    process.start()
    try:
        eventually(f"the {service} is ready", lambda: process.is_ready, READY_S)
    finally:
        process.kill()


@pytest.mark.parametrize("service", SERVICES)
@pytest.mark.parametrize(
    ("options", "environment", "status"),
    [((), {}, 421), ((), {"DATAFLOW_HOST_NAMES": "gateway.example"}, 200), (("--insecure",), {}, 200)],
)
def test_a_page_in_a_browser_does_not_get_in_by_a_name_of_its_own(
    project: Project, service: str, options: tuple[str, ...], environment: dict[str, str], status: int
) -> None:
    assert run(project, "apply").returncode == 0
    port = free_port()
    process: Process = door(project.folder, service, (service, "flow.yml", *options), port, environment)
    process.start()
    try:
        eventually(f"the {service} is ready", lambda: process.is_ready, READY_S)
        assert asked(port, f"127.0.0.1:{port}", "/version") == 200
        assert asked(port, f"gateway.example:{port}", "/version") == status
        assert asked(port, f"gateway.example:{port}", "/livez") == 200
    finally:
        process.kill()


def asked(port: int, host: str, path: str) -> int:
    """The status of an answer to a GET that names a host."""
    connection = HTTPConnection("127.0.0.1", port, timeout=10)
    with closing(connection):
        connection.request("GET", path, headers={"Host": host})
        return connection.getresponse().status


@pytest.mark.parametrize("section", ["hub: {host: 0.0.0.0, port: %d}", "scheduler: {host: 0.0.0.0, port: %d}",
                                     "sync: {host: 0.0.0.0, port: %d}"])  # fmt: skip
def test_up_says_so_and_ends(tmp_path: Path, own_redis: RedisServer, mongo: MongoServer, section: str) -> None:
    project = Project(tmp_path, FLOW % (section % free_port(), own_redis.url, mongo.url))
    done = run(project, "up", "--hub-port", "0")
    assert done.returncode == 2 and "would not start" in done.stderr and "dataflow key new" in done.stderr, done.stderr
    assert "starts again" not in done.stderr + done.stdout and "Traceback" not in done.stderr
    detached = run(project, "up", "-d", "--hub-port", "0")
    assert detached.returncode != 0 and "would not start" in detached.stderr + detached.stdout, detached


def test_up_with_an_embedded_redis_says_where_keys_are_made(tmp_path: Path) -> None:
    text = FLOW.replace('connections:\n  main:  {redis: "%s"}\n  tasks: {mongo: "%s"}\n', "").replace(
        '{hour: "3"}', "external"
    )
    project = Project(tmp_path, text % f"hub: {{host: 0.0.0.0, port: {free_port()}}}")
    done = run(project, "up")
    assert done.returncode == 2 and "embedded Redis" in done.stderr, done.stderr
