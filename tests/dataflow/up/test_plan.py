"""What `up` runs for a flow, and where."""

from __future__ import annotations

import socket
import sys
from pathlib import Path

import pytest

from dataflow.flow.load import load
from dataflow.flow.spec import Flow
from dataflow.run_file import RunFile
from dataflow.up import plan
from dataflow.up.folder import DataFolder

FLOW = """
flow: small
hub: {{port: {port}}}
connections:
  main: {{redis: {redis}}}
  warehouse: {{clickhouse: embedded}}
streams:
  a.stream_in: {{accepts: {{task_for: a, function_type: f}}, schema: {{rec_id: str}}}}
  a.stream_out: {{schema: {{rec_id: str}}}}
workers:
  one: {{from: a.stream_in, to: a.stream_out, handler: "handlers:same"}}
edges:
  keep: {{kind: s2ch, from: a.stream_out, to: warehouse.t, create_table: true}}
"""


def flow_in(folder: Path, *, redis: str = "embedded", port: int = 0) -> Flow:
    (folder / "handlers.py").write_text("def same(message):\n    return message\n")
    (folder / "flow.yml").write_text(FLOW.format(redis=redis, port=port or 24100))
    return load(folder / "flow.yml")


@pytest.fixture
def flow(tmp_path: Path) -> Flow:
    return flow_in(tmp_path)


def test_every_embedded_connection_gets_an_address_of_its_own(flow: Flow) -> None:
    run = plan.addresses(flow, None, hub_port=0)
    assert list(run.redis) == ["main"] and list(run.warehouse) == ["warehouse"]
    ports = {run.redis["main"].split(":")[2].split("/")[0], str(run.warehouse["warehouse"].port), run.hub.split(":")[2]}
    assert len(ports) == 3
    assert len(run.warehouse["warehouse"].key) >= 32


def test_an_edge_into_a_collection_gets_its_mongodb(tmp_path: Path) -> None:
    flow = flow_in(tmp_path)
    text = flow.path.read_text()
    assert not plan.addresses(flow, None, hub_port=0).mongo
    edge = "  store: {kind: s2mongo, from: a.stream_out, to: docs.scores}\n"
    docs = "  docs: {mongo: embedded}\n  other: {mongo: embedded}\nstreams:"
    flow.path.write_text(text.replace("streams:", docs, 1) + edge)
    run = plan.addresses(load(flow.path), None, hub_port=0)
    assert list(run.mongo) == ["docs"]
    assert not run.scheduler
    programs = [program.name for program in plan.servers(run, DataFolder.of(flow.path))]
    assert programs == ["redis.main", "mongo.docs"]


def test_a_second_run_uses_the_same_ports_but_another_key(flow: Flow) -> None:
    first = plan.addresses(flow, None, hub_port=0)
    second = plan.addresses(flow, first, hub_port=0)
    assert (second.redis, second.hub) == (first.redis, first.hub)
    assert second.warehouse["warehouse"].port == first.warehouse["warehouse"].port
    assert second.warehouse["warehouse"].key != first.warehouse["warehouse"].key


def test_a_port_that_was_taken_meanwhile_is_replaced(flow: Flow) -> None:
    first = plan.addresses(flow, None, hub_port=0)
    port = first.warehouse["warehouse"].port
    with socket.create_server(("127.0.0.1", port)):
        assert plan.addresses(flow, first, hub_port=0).warehouse["warehouse"].port != port


def test_what_another_flow_left_is_not_used(flow: Flow) -> None:
    other = plan.addresses(flow, None, hub_port=0)
    run = plan.addresses(flow, RunFile(flow="other", up=other.up, hub=other.hub, redis={}, warehouse={}), hub_port=0)
    assert list(run.redis) == ["main"]


def test_a_hub_port_that_is_taken_is_refused_with_a_way_out(flow: Flow) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(plan.PortTaken, match=rf"port {port}.*--hub-port"):
            plan.addresses(flow, None, hub_port=port)


def test_servers_elsewhere_are_not_started(tmp_path: Path) -> None:
    flow = flow_in(tmp_path, redis="redis://elsewhere:6379/0")
    run = plan.addresses(flow, None, hub_port=0)
    assert run.redis == {}
    assert plan.servers(run, DataFolder(tmp_path)) == []


def test_servers_stop_last_and_the_hub_first(flow: Flow, tmp_path: Path) -> None:
    run = plan.addresses(flow, None, hub_port=0)
    programs = [*plan.servers(run, DataFolder(tmp_path)), *plan.rooms(flow, run)]
    stages = {program.name: program.stage for program in programs}
    assert sorted(stages, key=stages.__getitem__) == ["redis.main", "sync", "worker.one", "hub", "sync-api"]


def test_rooms_run_as_commands_that_ignore_the_current_folder(flow: Flow, tmp_path: Path) -> None:
    run = plan.addresses(flow, None, hub_port=0)
    rooms = {program.name: program.command for program in plan.rooms(flow, run)}
    start = (sys.executable, "-P", "-m", "dataflow")
    path = str(tmp_path / "flow.yml")
    assert rooms == {
        "sync": (*start, "sync", path),
        "worker.one": (*start, "worker", path, "one"),
        "hub": (*start, "hub", path),
        "sync-api": (*start, "sync-api", path, "--port", run.sync.rpartition(":")[2]),
    }


def test_the_sync_api_has_a_port_of_its_own_which_is_kept(tmp_path: Path, flow: Flow) -> None:
    first = plan.addresses(flow, None, hub_port=0)
    assert first.sync not in ("", first.hub)
    assert plan.addresses(flow, first, hub_port=0).sync == first.sync
    text = flow.path.read_text()
    (tmp_path / "flow.yml").write_text(text[: text.index("edges:")] + "\n")
    bare = tmp_path / "flow.yml"
    bare.write_text(bare.read_text().replace("a.stream_out: {", "a.stream_out: {keep: {messages: 1}, "))
    assert plan.addresses(load(bare), None, hub_port=0).sync == "", "without edges there is nothing to ask for"


def test_a_port_of_the_sync_api_that_is_taken_is_refused_with_a_way_out(tmp_path: Path, flow: Flow) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken, socket.create_server(("127.0.0.1", 0)) as spare:
        port, hub = taken.getsockname()[1], spare.getsockname()[1]
        flow.path.write_text(f"sync: {{port: {port}}}\n" + flow.path.read_text())
        spare.close()
        with pytest.raises(plan.PortTaken, match=rf"port {port} for the sync API.*sync: {{port"):
            plan.addresses(load(flow.path), None, hub_port=hub)
