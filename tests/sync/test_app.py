"""The Celery app's settings: what it takes from the environment and the flow."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from dataflow.broker import broker_url, queue_of
from sync.app import celery_


@pytest.mark.parametrize(
    ("redis_url", "environ", "broker"),
    [
        ("redis://127.0.0.1:6379/0", {}, "redis://127.0.0.1:6379/1"),
        ("redis://:secret@host:1/", {}, "redis://:secret@host:1/1"),
        ("rediss://user:secret@host:1/0?x=y", {}, "rediss://user:secret@host:1/1?x=y&ssl_cert_reqs=required"),
        ("unix:///run/redis.sock", {}, "redis+socket:///run/redis.sock?virtual_host=1"),
        ("redis://127.0.0.1:6379/0", {"DATAFLOW_BROKER_URL": "redis://other:1/7"}, "redis://other:1/7"),
    ],
)
def test_the_broker_has_a_database_of_its_own(redis_url: str, environ: dict[str, str], broker: str) -> None:
    assert broker_url(redis_url, environ) == broker


def test_flows_that_share_a_broker_have_queues_of_their_own() -> None:
    assert queue_of("water") != queue_of("air")


def test_importing_it_reads_no_file_and_contacts_no_server(tmp_path: Path) -> None:
    """As `celery -A sync.app:celery_` does before it knows where the flow is."""
    code = "import sync.app; print(sync.app.celery_.main)"
    environ = {"DATAFLOW_FLOW": str(tmp_path / "missing.yml"), "PYTHONPATH": str(Path(__file__).parents[2])}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environ)
    assert done.stdout == "dataflow\n"


def test_its_settings_come_from_the_flow(tmp_path: Path) -> None:
    flow = tmp_path / "flow.yml"
    flow.write_text(
        "flow: water\nconnections: {main: {redis: 'redis://127.0.0.1:7/0'}}\n"
        "streams: {a.stream_in: {keep: {messages: 1}}}\n"
    )
    code = "from sync.app import celery_ as c; print(c.conf.broker_url, c.conf.task_default_queue, c.conf.worker_pool)"
    environ = {"DATAFLOW_FLOW": str(flow), "PYTHONPATH": str(Path(__file__).parents[2])}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environ)
    assert done.stdout == "redis://127.0.0.1:7/1 dataflow.water threads\n"


def test_only_json_is_accepted() -> None:
    settings = celery_._config_source
    assert settings.accept_content == ["json"]
    assert (settings.task_serializer, settings.result_serializer) == ("json", "json")
    assert settings.task_acks_late
    assert settings.task_ignore_result


def test_the_tasks_are_there_and_their_messages_expire() -> None:
    for name in ("run_edge", "s2s", "s2ch"):
        task = celery_.tasks[f"dataflow.{name}"]
        assert task.expires == 300
