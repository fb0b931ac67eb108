"""`dataflow doctor` on a deployment of real servers and processes, sound and not."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from dataflow.store.keys import Keys
from dataflow.store.live import beat
from dataflow.testing.servers import ClickHouseServer, RedisServer
from dataflow.up.ports import free_port
from tests.acceptance.project import Project, eventually

pytestmark = pytest.mark.acceptance

FLOW = """
flow: sick
hub: {{port: {port}}}
connections:
  main: {{redis: "{redis}"}}
  warehouse: {{clickhouse: "{clickhouse}"}}
streams:
  a.stream_in: {{accepts: {{task_for: t, function_type: f}}}}
  a.stream_out: {{}}
workers:
  step: {{from: a.stream_in, to: a.stream_out, handler: "steps:double"}}
edges:
  archive: {{kind: s2ch, from: a.stream_out, to: warehouse.rows}}
"""


def _doctor(project: Project, code: int) -> dict[tuple[str, str], Any]:
    done = project.command("doctor", "--json")
    assert done.returncode == code, done.stdout + done.stderr
    return {(one["subject"], one["code"]): one for one in json.loads(done.stdout)["findings"]}


@pytest.fixture
def project(tmp_path: Path, own_redis: RedisServer, clickhouse: ClickHouseServer) -> Project:
    text = FLOW.format(port=free_port(), redis=own_redis.url, clickhouse=clickhouse.writer_url)
    return Project(tmp_path, text)


def test_it_names_everything_that_is_wrong_and_then_nothing(
    project: Project, own_redis: RedisServer, clickhouse: ClickHouseServer
) -> None:
    client = own_redis.client()
    client.config_set("maxmemory-policy", "allkeys-lru")
    found = _doctor(project, 1)
    wrong = {key for key, one in found.items() if one["level"] == "wrong"}
    assert wrong == {
        ("redis main", "eviction"), ("edge archive", "table"), ("flow sick", "applied"), ("worker step", "running"),
        ("sync", "running"), ("hub", "unreachable"),
    }  # fmt: skip
    assert all(found[key]["remedy"] for key in wrong)
    assert "p@ss" not in str(found) and "p%40ss" not in str(found)

    client.config_set("maxmemory-policy", "noeviction")
    client.close()
    made = "\n".join(line for line in project.command("ddl", "archive").stdout.splitlines() if line[:2] != "--")
    for statement in made.split(";"):
        if statement.strip():
            assert project.command("sql", "--write", statement).returncode == 0
    assert project.command("apply").returncode == 0
    children = [project.start("hub"), project.start("sync"), project.start("worker", "flow.yml", "step")]
    try:
        eventually("nothing is wrong", lambda: project.command("doctor").returncode == 0)
        found = _doctor(project, 0)
        assert found["edge archive", "mode"]["text"].endswith("readback")
        assert found["hub", "ready"]["level"] == "ok"
        shown = project.command("doctor", "--problems")
        assert "doctor: wrong=0" in shown.stdout and "it never evicts keys" not in shown.stdout
    finally:
        for child in children:
            child.terminate()
            child.communicate(timeout=60)
        project.command("sql", "--write", "DROP TABLE rows")


def test_servers_that_are_away_are_findings_not_failures(tmp_path: Path) -> None:
    nowhere = f"127.0.0.1:{free_port()}"
    text = FLOW.format(port=free_port(), redis=f"redis://:hunter2@{nowhere}", clickhouse=f"clickhouse://{nowhere}")
    found = _doctor(Project(tmp_path, text), 1)
    assert (
        found["redis main", "unreachable"]["level"] == found["clickhouse warehouse", "unreachable"]["level"] == "wrong"
    )
    assert "hunter2" not in str(found)


def test_doors_on_other_machines(project: Project, own_redis: RedisServer) -> None:
    assert project.command("apply").returncode == 0
    found = _doctor(project, 1)
    assert (found["hub", "unreachable"]["level"], found["sync-api", "unreachable"]["level"]) == ("wrong", "note")
    client, port = own_redis.client(), free_port()
    beat(client, Keys("sick"), "hub", "hub@elsewhere.7", bind="0.0.0.0:24100")
    client.close()
    assert _doctor(project, 1)["hub", "running"]["level"] == "ok"
    with project.start("hub", "--port", str(port)) as hub:
        try:
            url = f"http://127.0.0.1:{port}"
            eventually("it is asked where it is", lambda: _levels(project, "--hub", url)["hub"] == "ok")
            assert _levels(project, "--hub", f"http://127.0.0.1:{free_port()}")["hub"] == "wrong", "a beat is no answer"

        finally:
            hub.terminate()
            hub.communicate(timeout=60)


def _levels(project: Project, *options: str) -> dict[str, str]:
    told = json.loads(project.command("doctor", "--json", *options).stdout)
    return {one["subject"]: one["level"] for one in told["findings"]}


def test_embedded_servers_that_do_not_run(tmp_path: Path) -> None:
    project = Project(tmp_path)
    found = _doctor(project, 1)
    assert "dataflow up" in found["redis main", "unreachable"]["text"]
