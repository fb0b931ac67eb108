"""Where a service listens."""

from __future__ import annotations

import socket
from pathlib import Path

import httpx
import pytest

from dataflow.testing.mongo import MongoServer
from dataflow.testing.servers import RedisServer
from dataflow.web.server import place
from tests.acceptance.project import Project, eventually

FLOW = """
flow: six
connections:
  main:  {{redis: "{redis}"}}
  tasks: {{mongo: "{mongo}"}}
streams:
  a.stream_in: {{keep: {{messages: 1000}}}}
"""


@pytest.mark.parametrize(
    ("host", "written"),
    [
        ("127.0.0.1", "127.0.0.1:24100"),
        ("gate.example", "gate.example:24100"),
        ("::1", "[::1]:24100"),
        ("::", "[::]:24100"),
        ("[::1]", "[::1]:24100"),
    ],
)
def test_an_ipv6_address_is_told_from_its_port(host: str, written: str) -> None:
    assert place(host, 24100) == written


@pytest.mark.acceptance
@pytest.mark.parametrize("service", ["hub", "sync-api", "scheduler"])
def test_a_service_listens_on_ipv6(
    service: str, tmp_path: Path, own_redis: RedisServer, own_mongo: MongoServer
) -> None:
    project = Project(tmp_path, FLOW.format(redis=own_redis.url, mongo=own_mongo.url))
    assert project.command("apply").returncode == 0
    port = _free_port()
    with project.start(service, "--host", "::1", "--port", str(port)) as process:
        try:
            eventually("it answers", lambda: process.poll() is not None or _answers(port))
            assert process.poll() is None, process.communicate()[1]
        finally:
            process.terminate()
            process.communicate(timeout=60)


def _free_port() -> int:
    with socket.socket(socket.AF_INET6) as probe:
        probe.bind(("::1", 0))
        return int(probe.getsockname()[1])


def _answers(port: int) -> bool:
    try:
        return httpx.get(f"http://[::1]:{port}/livez", trust_env=False).status_code == 200
    except httpx.TransportError:
        return False
