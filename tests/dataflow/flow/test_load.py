"""A flow file becomes a Flow; what is wrong with the file itself is told, too."""

from __future__ import annotations

import os
import pickle
from pathlib import Path

import pytest

from dataflow.errors import FlowError
from dataflow.flow.load import MAX_BYTES, check, load, loads
from dataflow.flow.spec import Connection, Edge, Field, Flow, Route, Scheduler, Stream, Worker

SMALL = """\
flow: small
streams:
  a.stream_in:
  a.stream_out: {keep: {messages: 100}}
workers:
  w: {from: a.stream_in, to: a.stream_out, handler: "m:f"}
"""

FULL = """\
flow: water
connections:
  main: {redis: "redis://:${REDIS_PASSWORD}@10.0.0.1:6379/2"}
  spare: {redis: unix:///run/redis.sock}
  warehouse: {clickhouse: "${DATAFLOW_CLICKHOUSE_URL:embedded}"}
  tasks: {mongo: "mongodb+srv://a,b/flask_aps"}
hub: {host: 0.0.0.0, port: "${HUB_PORT:24100}"}
streams:
  all.stream_in:
    on: main
    max_len: 5000
    accepts: {task_for: anomaly, function_type: score}
    schema: {rec_id: str, ts: datetime, flow: float?, note: {type: json, nullable: true}, day: {type: int}}
  meter.stream_in: {}
  pump.stream_in:
  meter.stream_out: {schema: {score: float}}
  notes: {direction: out, on: spare, keep: {hours: 0.5}}
  archive: {direction: in, keep: {messages: 10}}
workers:
  anomaly:
    from: meter.stream_in
    to: [meter.stream_out]
    handler: water.models:Anomaly
    params: {threshold: 0.9, names: [a, no, 12:30], on: true, nothing: }
    processes: 2
    threads: 3
    batch: 100
    timeout_s: 60
    max_attempts: 2
    lease_s: 5
    batch_handler: list
    aggregate: true
  blackhole: {from: pump.stream_in, handler: "m:f"}
edges:
  grade:
    kind: s2s
    from: all.stream_in
    route: {by: task_for, cases: {meter: meter.stream_in, 5: pump.stream_in}, other: archive}
    batch: 10
    join: now
  store:
    kind: s2ch
    from: meter.stream_out
    to: warehouse.scores
    create_table: true
    columns: [_mid, score]
    delivery: at_least_once
    batch: 20000
    min_batch: 1000
    max_wait_s: 2.5
    lease_s: 10
    task: {second: "*/5", hour: 3, start_date: 2030-01-01}
"""


def small(**changes: str) -> Flow:
    text = SMALL
    for old, new in changes.items():
        text = text.replace(old, new)
    return loads(text, "flow.yml", {})


def test_a_full_file_loads_to_this() -> None:
    found = loads(FULL, "/somewhere/water.yml", {"REDIS_PASSWORD": "hunter2"})
    assert found == Flow(
        name="water",
        path=Path("/somewhere/water.yml"),
        digest=found.digest,
        connections={
            "main": Connection("main", "redis", "redis://:hunter2@10.0.0.1:6379/2"),
            "spare": Connection("spare", "redis", "unix:///run/redis.sock"),
            "warehouse": Connection("warehouse", "clickhouse", "embedded"),
            "tasks": Connection("tasks", "mongo", "mongodb+srv://a,b/flask_aps"),
        },
        streams={
            "all.stream_in": Stream(
                "all.stream_in",
                "main",
                "in",
                5000,
                {
                    "rec_id": Field("str"),
                    "ts": Field("datetime"),
                    "flow": Field("float", True),
                    "note": Field("json", True),
                    "day": Field("int"),
                },
                ("anomaly", "score"),
                None,
                None,
            ),
            "meter.stream_in": Stream("meter.stream_in", "main", "in", 100_000, None, None, None, None),
            "pump.stream_in": Stream("pump.stream_in", "main", "in", 100_000, None, None, None, None),
            "meter.stream_out": Stream(
                "meter.stream_out", "main", "out", 100_000, {"score": Field("float")}, None, None, None
            ),
            "notes": Stream("notes", "spare", "out", 100_000, None, None, None, 0.5),
            "archive": Stream("archive", "main", "in", 100_000, None, None, 10, None),
        },
        workers={
            "anomaly": Worker(
                name="anomaly",
                source="meter.stream_in",
                targets=("meter.stream_out",),
                handler="water.models:Anomaly",
                params={"threshold": 0.9, "names": ["a", "no", "12:30"], "on": True, "nothing": None},
                processes=2,
                threads=3,
                batch=100,
                timeout_s=60.0,
                max_attempts=2,
                max_retry_s=604_800.0,
                lease_s=5.0,
                batch_handler="list",
                aggregate=True,
            ),
            "blackhole": Worker(
                name="blackhole",
                source="pump.stream_in",
                targets=(),
                handler="m:f",
                params={},
                processes=1,
                threads=1,
                batch=500,
                timeout_s=300.0,
                max_attempts=5,
                max_retry_s=604_800.0,
                lease_s=15.0,
                batch_handler="no",
                aggregate=False,
            ),
        },
        edges={
            "grade": Edge(
                name="grade",
                kind="s2s",
                source="all.stream_in",
                to_stream=None,
                route=Route("task_for", {"meter": "meter.stream_in", "5": "pump.stream_in"}, "archive"),
                connection=None,
                table=None,
                create_table=False,
                columns=None,
                delivery="exactly_once",
                batch=10,
                min_batch=1,
                max_wait_s=1.0,
                lease_s=30.0,
                join="now",
                task=None,
            ),
            "store": Edge(
                name="store",
                kind="s2ch",
                source="meter.stream_out",
                to_stream=None,
                route=None,
                connection="warehouse",
                table="scores",
                create_table=True,
                columns=("_mid", "score"),
                delivery="at_least_once",
                batch=20_000,
                min_batch=1000,
                max_wait_s=2.5,
                lease_s=10.0,
                join="start",
                task={"second": "*/5", "hour": 3, "start_date": "2030-01-01"},
            ),
        },
        hub_host="0.0.0.0",
        hub_port=24100,
        scheduler=Scheduler(tasks="tasks"),
    )


def test_defaults_of_edges_depend_on_their_kind() -> None:
    flow = loads(
        SMALL.replace("  a.stream_in:\n", "  a.stream_in:\n  b.stream_in:\n")
        + "edges:\n  s: {kind: s2s, from: b.stream_in, to: a.stream_in}\n"
        + "  c: {kind: s2ch, from: b.stream_in, to: warehouse.t}\n",
        environ={},
    )
    assert (flow.edges["s"].batch, flow.edges["c"].batch) == (500, 10_000)
    assert (flow.edges["s"].min_batch, flow.edges["c"].min_batch) == (1, 1000), "a table gets few large parts"
    assert flow.edges["s"].to_stream == "a.stream_in"


@pytest.mark.parametrize(
    ("written", "least"), [("batch: 200", 200), ("batch: 5000", 1000), ("batch: 5, min_batch: 2", 2)]
)
def test_an_edge_waits_for_no_more_than_it_takes_at_once(written: str, least: int) -> None:
    edge = f"edges:\n  c: {{kind: s2ch, from: a.stream_in, to: warehouse.t, {written}}}\n"
    assert loads(SMALL + edge, environ={}).edges["c"].min_batch == least


def test_without_connections_there_are_three_embedded_servers() -> None:
    assert small().connections == {
        "main": Connection("main", "redis", "embedded"),
        "warehouse": Connection("warehouse", "clickhouse", "embedded"),
        "tasks": Connection("tasks", "mongo", "embedded"),
    }


def test_variables_move_the_default_connections() -> None:
    environ = {"DATAFLOW_REDIS_URL": "redis://r", "DATAFLOW_CLICKHOUSE_URL": "clickhouse://c"}
    environ["DATAFLOW_MONGO_URL"] = "mongodb://m"
    urls = {one.name: one.url for one in loads(SMALL, environ=environ).connections.values()}
    assert urls == {"main": "redis://r", "warehouse": "clickhouse://c", "tasks": "mongodb://m"}


def test_streams_live_on_the_first_redis() -> None:
    flow = small(**{"streams:": "connections: {w: {clickhouse: embedded}, r: {redis: embedded}}\nstreams:"})
    assert {stream.on for stream in flow.streams.values()} == {"r"}


@pytest.mark.parametrize(
    ("form", "kept"),
    [
        ("interval: {seconds: 5}", {"interval": {"seconds": 5}}),
        ("date: 2030-01-01 00:00:00", {"date": "2030-01-01 00:00:00"}),
        ("date: {run_date: 2030-01-01}", {"date": {"run_date": "2030-01-01"}}),
        ("hour: 2, timezone: Europe/Berlin", {"hour": 2, "timezone": "Europe/Berlin"}),
    ],
)
def test_a_schedule_has_other_forms(form: str, kept: object) -> None:
    edge = f"edges: {{e: {{kind: s2ch, from: a.stream_out, to: warehouse.t, task: {{{form}}}}}}}\n"
    assert loads(SMALL + edge, environ={}).edges["e"].task == kept


def test_a_schedule_may_be_kept_outside_the_file() -> None:
    edge = "edges: {e: {kind: s2ch, from: a.stream_out, to: warehouse.t, task: external}}\n"
    assert loads(SMALL + edge, environ={}).edges["e"].task == {}


def test_an_edge_that_is_only_asked_needs_no_mongodb() -> None:
    text = "connections: {r: {redis: embedded}, warehouse: {clickhouse: embedded}}\n" + SMALL
    edge = "edges: {e: {kind: s2ch, from: a.stream_out, to: warehouse.t, task: external}}\n"
    assert not loads(text + edge, environ={}).scheduled
    assert loads(SMALL + edge, environ={}).scheduled


def test_the_scheduler_has_defaults() -> None:
    text = SMALL + "scheduler: {machine: m999, allow: ['http://127.0.0.1:24104/'], modules: [nightly.jobs]}\n"
    flow = loads(text, environ={})
    assert flow.machine == "m999" and flow.scheduled and not small().scheduled
    assert small().machine == small().name and small().scheduler == Scheduler(tasks="tasks")
    assert flow.scheduler == Scheduler(
        machine="m999", tasks="tasks", allow=("http://127.0.0.1:24104/",), modules=("nightly.jobs",), declared=True
    )


def test_an_alias_stands_for_a_whole_value() -> None:
    flow = small(
        **{"  a.stream_in:": "  a.stream_in: {schema: &s {x: int}}", "{keep:": "{schema: *s, keep:"},
    )
    assert flow.streams["a.stream_in"].schema == flow.streams["a.stream_out"].schema == {"x": Field("int")}


def test_a_flow_can_be_sent_to_another_process() -> None:
    flow = loads(FULL, environ={"REDIS_PASSWORD": "x"})
    assert pickle.loads(pickle.dumps(flow)) == flow


# -- digest


def test_layout_comments_order_and_passwords_do_not_change_the_digest() -> None:
    flow = loads(FULL, environ={"REDIS_PASSWORD": "one"})
    other = loads("# a comment\n" + FULL.replace("max_len: 5000", "max_len:   5000"), environ={"REDIS_PASSWORD": "two"})
    assert flow.digest == other.digest


@pytest.mark.parametrize(
    ("old", "new"),
    [("threshold: 0.9", "threshold: 0.8"), ("spare: {redis", "spare: {aliases: [x], redis"), ("second: ", "minute: ")],
)
def test_what_the_file_says_changes_the_digest(old: str, new: str) -> None:
    environ = {"REDIS_PASSWORD": "x"}
    assert loads(FULL, environ=environ).digest != loads(FULL.replace(old, new), environ=environ).digest


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("10.0.0.1:6379", "redis.example.org:6380"),
        ("unix:///run/redis.sock", "embedded"),
        ("host: 0.0.0.0, port", "port"),
        ('"${HUB_PORT:24100}"', "24200"),
    ],
)
def test_where_servers_are_and_services_listen_is_a_matter_of_the_machine(old: str, new: str) -> None:
    environ = {"REDIS_PASSWORD": "x"}
    assert loads(FULL, environ=environ).digest == loads(FULL.replace(old, new), environ=environ).digest


def test_another_address_by_a_variable_does_not_change_the_digest() -> None:
    assert small().digest == loads(SMALL, environ={"DATAFLOW_REDIS_URL": "redis://other"}).digest


def test_a_scheduler_with_and_without_a_port_is_still_one() -> None:
    bare, ported, other = (
        loads(SMALL + f"scheduler: {it}\n", environ={}).digest for it in ("{}", "{port: 1}", "{machine: x}")
    )
    assert bare == ported != other
    assert bare != small().digest


# -- the file


def test_a_file_is_loaded_by_its_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "flow.yml").write_text("\ufeff" + SMALL, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    assert load("flow.yml", {}).path == tmp_path / "flow.yml"


def problem_of(path: Path) -> tuple[str, int, int]:
    with pytest.raises(FlowError) as caught:
        load(path, {})
    (problem,) = caught.value.problems
    assert problem.file == os.fspath(path)
    return problem.code, problem.line, problem.column


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    assert problem_of(tmp_path / "none.yml") == ("F001", 1, 1)


def test_a_folder_is_no_flow_file(tmp_path: Path) -> None:
    assert problem_of(tmp_path) == ("F001", 1, 1)


def test_a_name_that_no_file_can_have() -> None:
    assert problem_of(Path("a\0b")) == ("F001", 1, 1)


def test_a_file_in_another_encoding(tmp_path: Path) -> None:
    path = tmp_path / "flow.yml"
    path.write_bytes("flow: f\n# ä: Wasser".encode() + "ü".encode("latin-1"))
    assert problem_of(path) == ("F002", 2, 12)


def test_a_file_without_end(tmp_path: Path) -> None:
    path = tmp_path / "flow.yml"
    path.write_bytes(b"#" * (MAX_BYTES + 1))
    assert problem_of(path) == ("F003", 1, 1)


def test_a_file_of_the_largest_size(tmp_path: Path) -> None:
    path = tmp_path / "flow.yml"
    path.write_bytes(SMALL.encode() + b"#" * (MAX_BYTES - len(SMALL)))
    assert load(path, {}).name == "small"


# -- handlers


def checked(folder: Path, handler: str) -> list[tuple[str, int, int]]:
    path = folder / "flow.yml"
    path.write_text(SMALL.replace("m:f", handler))
    try:
        check(path, {})
    except FlowError as error:
        return [(one.code, one.line, one.column) for one in error.problems]
    return []


@pytest.mark.parametrize(
    ("handler", "file"), [("m:f", "m.py"), ("m:f", "m/__init__.py"), ("p.m:f", "p/__init__.py"), ("p.m:f", "p/m.py")]
)
def test_a_module_beside_the_file_is_found_without_running_it(tmp_path: Path, handler: str, file: str) -> None:
    for name in {file, "p/m.py"} if handler.startswith("p") else {file}:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("raise SystemExit('imported!')")
    assert checked(tmp_path, handler) == []


@pytest.mark.parametrize("handler", ["json:loads", "email.mime.text:MIMEText", "dataflow.flow.load:load"])
def test_an_installed_module_is_found(tmp_path: Path, handler: str) -> None:
    assert checked(tmp_path, handler) == []


@pytest.mark.parametrize(
    "handler", ["nowhere:f", "json.nowhere:f", "nowhere.at.all:f", "json.decoder.deeper:f", "__main__x:f"]
)
def test_a_module_that_is_nowhere_is_reported_at_the_handler(tmp_path: Path, handler: str) -> None:
    assert checked(tmp_path, handler) == [("F501", 6, 53)]


def test_a_module_that_an_installed_one_hides_is_reported(tmp_path: Path) -> None:
    for name in ("json.py", "time.py", "mine.py"):
        (tmp_path / name).touch()
    assert checked(tmp_path, "json:loads") == [("F502", 6, 53)]
    assert checked(tmp_path, "time:time") == [("F502", 6, 53)]
    assert checked(tmp_path, "mine:f") == []


def test_the_folder_of_the_flow_may_be_on_the_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "mine_too.py").touch()
    assert checked(tmp_path, "mine_too:Class.method") == []


def test_a_folder_of_the_user_hides_no_room_of_ours(tmp_path: Path) -> None:
    (tmp_path / "workers").mkdir()
    (tmp_path / "mine.py").touch()
    assert checked(tmp_path, "mine:f") == []


def test_a_folder_without_code_is_no_module(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    assert checked(tmp_path, "empty:f") == [("F501", 6, 53)]


def test_loading_does_not_ask_for_handlers(tmp_path: Path) -> None:
    (tmp_path / "flow.yml").write_text(SMALL)
    assert load(tmp_path / "flow.yml", {}).workers["w"].handler == "m:f"
