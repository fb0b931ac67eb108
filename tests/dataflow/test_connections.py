"""Where a command in another shell finds the servers of a flow."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from dataflow import run_file
from dataflow.connections import NotRunning, WarehouseAddress, hub_url, resolve
from dataflow.flow.spec import Connection, Flow
from dataflow.process import ProcessId
from dataflow.run_file import RunFile

WAREHOUSE = WarehouseAddress(host="127.0.0.1", port=4001, key="hunter2")


@pytest.fixture
def flow(tmp_path: Path) -> Flow:
    connections = [
        Connection("main", "redis", "embedded"),
        Connection("other", "redis", "redis://:secret@elsewhere:6379/1"),
        Connection("warehouse", "clickhouse", "embedded"),
    ]
    return Flow(
        name="water",
        path=tmp_path / "flow.yml",
        digest="",
        connections={c.name: c for c in connections},
        streams={},
        workers={},
        edges={},
        hub_host="0.0.0.0",
        hub_port=8080,
    )


def running(flow: Flow, *, up: ProcessId | None = None, name: str = "water") -> None:
    folder = run_file.data_folder(flow.path)
    folder.mkdir()
    run_file.write(
        folder,
        RunFile(
            flow=name,
            up=up or ProcessId.own(),
            hub="http://127.0.0.1:4000",
            redis={"main": "redis://127.0.0.1:4002/0"},
            warehouse={"warehouse": WAREHOUSE},
        ),
    )


def test_addresses_come_from_the_up_that_runs(flow: Flow) -> None:
    running(flow)
    found = resolve(flow)
    assert found.redis["main"] == "redis://127.0.0.1:4002/0"
    assert found.redis["other"] == "redis://:secret@elsewhere:6379/1"
    assert found.warehouse["warehouse"] == WAREHOUSE
    assert found.hub_url == "http://127.0.0.1:4000"


def test_without_up_only_the_embedded_ones_are_missing(flow: Flow) -> None:
    found = resolve(flow)
    assert found.redis["other"] == "redis://:secret@elsewhere:6379/1"
    assert found.hub_url == "http://127.0.0.1:8080"
    with pytest.raises(NotRunning, match=r"`dataflow up` is not running.*DATAFLOW_REDIS_URL"):
        found.redis["main"]
    with pytest.raises(NotRunning, match=r"DATAFLOW_CLICKHOUSE_URL"):
        found.warehouse["warehouse"]


def test_a_run_file_of_a_dead_up_is_not_believed(flow: Flow) -> None:
    running(flow, up=replace(ProcessId.own(), started="an earlier boot/1"))
    with pytest.raises(NotRunning):
        resolve(flow).redis["main"]


def test_a_run_file_of_another_flow_in_the_same_folder_is_not_believed(flow: Flow) -> None:
    running(flow, name="fire")
    with pytest.raises(NotRunning):
        resolve(flow).redis["main"]


@pytest.mark.parametrize("text", ["", "{", '{"format": 99}', "[]"])
def test_a_damaged_run_file_counts_as_none(flow: Flow, text: str) -> None:
    running(flow)
    (run_file.data_folder(flow.path) / "run.json").write_text(text)
    assert run_file.read(run_file.data_folder(flow.path)) is None


def test_only_its_owner_can_read_the_run_file_and_no_repr_shows_its_key(flow: Flow) -> None:
    running(flow)
    path = run_file.data_folder(flow.path) / "run.json"
    assert path.stat().st_mode & 0o777 == 0o600
    assert "hunter2" in path.read_text()
    assert "hunter2" not in repr(WAREHOUSE)
    assert "hunter2" not in repr(run_file.read(path.parent))
    assert "secret" not in repr(resolve(flow))


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("127.0.0.1", "http://127.0.0.1:80"),
        ("0.0.0.0", "http://127.0.0.1:80"),
        ("::", "http://[::1]:80"),
        ("10.0.0.7", "http://10.0.0.7:80"),
    ],
)
def test_a_hub_on_all_interfaces_is_asked_on_loopback(flow: Flow, host: str, url: str) -> None:
    assert hub_url(replace(flow, hub_host=host), 80) == url
