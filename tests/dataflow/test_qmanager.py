"""The verbs of older scripts on real Redis servers, with and without a flow."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from threading import Thread

import pandas as pd
import pytest
from redis.exceptions import ResponseError

from dataflow import qmanager
from dataflow.audit import audit, is_clean
from dataflow.errors import (
    DataflowError,
    FlowError,
    InvalidMessage,
    NotDeclared,
    ServerAway,
    ServerFull,
    StreamFull,
    UnknownName,
    UserError,
)
from dataflow.flow.load import load
from dataflow.qmanager import PartlyWritten, QManager
from dataflow.store.declare import apply
from dataflow.store.redis import Client, call, connect
from dataflow.testing.servers import RedisServer

pytestmark = pytest.mark.integration

SOURCE, TARGET = "BUFF.andy.test0.stream_out", "BUFF.andy.test1.stream_in"
FLOW = """
flow: water
connections:
  main: {redis: "%s", aliases: ["http://172.17.0.1:24118/"]}
  other: {redis: "redis://127.0.0.1:1/0", aliases: ["http://172.17.0.1:24118/", "b1946ac9"]}
  store: {clickhouse: "clickhouse://127.0.0.1:9", aliases: ["172.17.0.1:19000"]}
streams:
  a.stream_in: {max_len: 100, schema: {n: int, flow: float?}}
  kept.stream_out: {keep: {messages: 100}}
  far.stream_in: {on: other, keep: {messages: 100}}
workers:
  one: {from: a.stream_in, to: kept.stream_out, handler: "builtins:dict"}
"""


@pytest.fixture
def redis(both_redis_url: str) -> Iterator[Client]:
    client = connect(both_redis_url)
    yield client
    client.close()


@pytest.fixture
def qm(both_redis_url: str) -> Iterator[QManager]:
    with QManager(batch_size=10, redis_agent_host=both_redis_url, q_max_len=1000) as qm:
        yield qm


@pytest.fixture
def flow_file(both_redis_url: str, tmp_path: Path, redis: Client) -> Path:
    path = tmp_path / "flow.yml"
    path.write_text(FLOW % both_redis_url)
    apply(load(path), redis, "main")
    return path


@pytest.fixture
def flowing(flow_file: Path) -> Iterator[QManager]:
    with QManager(batch_size=10, flow=flow_file) as qm:
        yield qm


def rows(count: int) -> list[dict[str, object]]:
    return [{"msg_id": n, "data": "test"} for n in range(count)]


def test_a_script_of_the_older_kind_moves_everything_once(qm: QManager) -> None:
    """Its loop, with a source and a target on one server."""
    qm.q_max_len = 2000
    assert qm.ensure_group(SOURCE) == {"msg": "ok", "status": True, "data": ["qmanager"]}
    qm.ensure_group(TARGET)
    qm.ensure_group(TARGET)
    assert qm.parrallel_write_msg(SOURCE, data_listofdict=rows(1000))["data"] == 1000
    assert (qm.stream_len(SOURCE), qm.stream_len(TARGET)) == (1000, 0)
    while qm._is_q_available(TARGET):
        found = qm.xrange(SOURCE, count=7)["data"]
        if not found:
            break
        qm.parrallel_write_msg(TARGET, data_listofdict=found)
        assert qm.xdel(SOURCE, mid_or_list=qm.extract_msg_id(found))["data"] == len(found)
    assert (qm.stream_len(SOURCE), qm.stream_len(TARGET)) == (0, 1000)
    moved = pd.DataFrame(qm.xrange(TARGET, count=1000)["data"])
    assert list(moved["msg_id"]) == [str(n) for n in range(1000)]
    assert list(moved.columns) == ["_msg_id", "msg_id", "data"]


def test_info_tells_what_the_older_class_told(qm: QManager) -> None:
    data = qm.info()["data"]
    assert (data["role"], data["cluster_enabled"]) == ("master", 0)
    assert data["connected_clients"] >= 1 and data["used_memory_human"].endswith(("K", "M", "G"))
    assert list(data) == [
        "cluster_enabled", "role", "total_system_memory_human", "used_memory_peak_human", "used_memory_human",
        "connected_clients",
    ]  # fmt: skip


def test_a_full_stream_takes_nothing_and_loses_nothing(qm: QManager) -> None:
    qm.parrallel_write_msg(SOURCE, rows(995))
    assert not qm._is_q_available(SOURCE)
    first = qm.xrange(SOURCE, count=1)["data"]
    with pytest.raises(StreamFull, match="995 of 1000"):
        qm.parrallel_write_msg(SOURCE, rows(6))
    assert qm.stream_len(SOURCE) == 995 and qm.xrange(SOURCE, count=1)["data"] == first
    qm.parrallel_write_msg(SOURCE, rows(5))
    assert qm.stream_len(SOURCE) == 1000


def test_many_writers_at_once_never_pass_the_limit(both_redis_url: str) -> None:
    def write() -> None:
        with QManager(redis_agent_host=both_redis_url, q_max_len=1000) as one:
            for _ in range(20):
                try:
                    stored.append(one.parrallel_write_msg(SOURCE, rows(40))["data"])
                except StreamFull:
                    return

    stored: list[int] = []
    threads = [Thread(target=write) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with QManager(redis_agent_host=both_redis_url) as one:
        assert one.stream_len(SOURCE) == sum(stored) == 1000


def test_what_was_stored_before_it_broke_is_told(qm: QManager, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(qmanager, "CHUNK_MESSAGES", 10)
    monkeypatch.setattr(qm, "stream_len", lambda stream: 0)  # somebody else fills it after the look
    call(qm._redis, "XADD", SOURCE, "*", "a", "b")
    qm.q_max_len = 24
    with pytest.raises(PartlyWritten, match="the first 20 of 24 messages were stored, the rest were not") as broke:
        qm.parrallel_write_msg(SOURCE, rows(24))
    assert (broke.value.stored, broke.value.unsure) == (20, 0)
    assert call(qm._redis, "XLEN", SOURCE) == 21


def test_messages_that_do_not_fit_are_refused_as_a_whole(qm: QManager) -> None:
    for bad in ({"a": [1]}, {"a": "\ud800"}, {}, {"_msg_id": "1-1"}, "text", {1: "a"}):
        with pytest.raises((InvalidMessage, UserError)):
            qm.parrallel_write_msg(SOURCE, [{"a": 1}, bad])  # type: ignore[list-item]
    assert qm.stream_len(SOURCE) == 0
    assert qm.parrallel_write_msg(SOURCE, [])["data"] == 0


def test_null_and_fields_of_ours_go_along_from_stream_to_stream(qm: QManager) -> None:
    qm.parrallel_write_msg(SOURCE, [{"_msg_id": "5-1", "_mid": "m1", "a": None, "b": ""}])
    (found,) = qm.xrange(SOURCE)["data"]
    assert found == {"_msg_id": found["_msg_id"], "_mid": "m1", "a": None, "b": ""} and found["_msg_id"] != "5-1"


def test_many_and_large_messages_go_in_parts(both_redis_url: str) -> None:
    with QManager(redis_agent_host=both_redis_url) as qm:
        qm.parrallel_write_msg(SOURCE, [{"text": "x" * 900_000} for _ in range(12)])
        qm.parrallel_write_msg(SOURCE, rows(2500))
        assert qm.stream_len(SOURCE) == 2512
        ids = qm.extract_msg_id(qm.xrange(SOURCE, count=5000)["data"])
        assert qm.xdel(SOURCE, ids)["data"] == 2512


@pytest.mark.parametrize("id_", ["", "x", "1-", "1-2-3", "-", "99999999999999999999-1", 5])
def test_an_id_that_is_none_deletes_nothing(qm: QManager, id_: str) -> None:
    qm.parrallel_write_msg(SOURCE, rows(1))
    (known,) = qm.extract_msg_id(qm.xrange(SOURCE)["data"])
    with pytest.raises(UserError, match="nothing was deleted"):
        qm.xdel(SOURCE, [known, id_])
    assert qm.stream_len(SOURCE) == 1
    assert qm.xdel(SOURCE, known)["data"] == 1


def test_a_key_that_is_no_stream(qm: QManager, redis: Client) -> None:
    call(redis, "SET", SOURCE, "x")
    with pytest.raises(ResponseError):
        qm.stream_len(SOURCE)
    with pytest.raises(ResponseError):
        qm.ensure_group(SOURCE)
    with pytest.raises(ResponseError):
        qm.xdel(SOURCE, "1-1")
    with pytest.raises(NotDeclared, match="not a stream"):
        qm._append(SOURCE, [[b"a", b"b"]])


class TestFlow:
    """With a flow file, names of its streams mean these, and its books stay right."""

    def test_messages_go_in_as_through_the_hub(self, flowing: QManager, redis: Client, flow_file: Path) -> None:
        assert flowing.ensure_group("a.stream_in")["data"] == ["one"]
        flowing.parrallel_write_msg("a.stream_in", [{"n": n, "flow": None} for n in range(10)])
        (first, *_) = flowing.xrange("a.stream_in")["data"]
        assert (first["n"], first["flow"]) == (0, None) and first["_mid"].endswith("-0")
        assert call(redis, "HGET", "{water}:a.stream_in:counts", "from.door") == b"10"
        assert is_clean(audit(load(flow_file), {"main": redis, "other": redis}, {}))

    def test_what_does_not_fit_its_schema_is_refused(self, flowing: QManager) -> None:
        with pytest.raises(InvalidMessage):
            flowing.parrallel_write_msg("a.stream_in", [{"n": 1}, {"n": "many"}])
        assert flowing.stream_len("a.stream_in") == 0

    def test_its_own_limit_counts(self, flowing: QManager) -> None:
        flowing.parrallel_write_msg("a.stream_in", [{"n": n} for n in range(95)])
        assert not flowing._is_q_available("a.stream_in")
        with pytest.raises(StreamFull, match="95 of 100"):
            flowing.parrallel_write_msg("a.stream_in", [{"n": n} for n in range(6)])

    def test_entries_of_a_stream_with_readers_are_deleted_by_force_alone(
        self, flowing: QManager, redis: Client, flow_file: Path
    ) -> None:
        flowing.parrallel_write_msg("a.stream_in", [{"n": n} for n in range(10)])
        ids = flowing.extract_msg_id(flowing.xrange("a.stream_in")["data"])
        with pytest.raises(UserError, match=r"declared readers \(one\).*force=True"):
            flowing.xdel("a.stream_in", ids)
        assert flowing.stream_len("a.stream_in") == 10
        assert flowing.xdel("a.stream_in", ids[:3], force=True)["data"] == 3
        assert not is_clean(audit(load(flow_file), {"main": redis, "other": redis}, {})), "the audit tells of it"

    def test_entries_of_a_stream_that_nothing_reads_may_be_deleted(
        self, flowing: QManager, redis: Client, flow_file: Path
    ) -> None:
        flowing.parrallel_write_msg("kept.stream_out", rows(10))
        ids = flowing.extract_msg_id(flowing.xrange("kept.stream_out")["data"])
        assert flowing.xdel("kept.stream_out", ids)["data"] == 10
        assert is_clean(audit(load(flow_file), {"main": redis, "other": redis}, {}))

    def test_the_same_stream_by_its_key_is_protected_too(self, flowing: QManager, qm: QManager) -> None:
        flowing.parrallel_write_msg("a.stream_in", [{"n": 1}])
        key = "{water}:a.stream_in"
        with pytest.raises(UserError, match="is a flow's"):
            qm.parrallel_write_msg(key, rows(1))
        with pytest.raises(UserError, match="declared readers"):
            qm.xdel(key, qm.extract_msg_id(qm.xrange(key)["data"]))
        assert qm.stream_len(key) == 1

    def test_its_readers_are_declared_in_the_file_alone(self, flowing: QManager) -> None:
        with pytest.raises(UserError, match="declare reader 'mine'"):
            flowing.ensure_group("a.stream_in", "mine")
        assert flowing.ensure_group("scratch", "mine")["data"] == ["mine"], "a key of no flow"

    def test_a_stream_on_another_connection_is_told(self, flowing: QManager) -> None:
        with pytest.raises(UserError, match="on connection 'other', not 'main'"):
            flowing.stream_len("far.stream_in")

    def test_a_connection_by_its_name_alias_or_hash(self, flow_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        assert QManager(redis_agent_host="main", flow=flow_file)._on == "main"
        assert QManager(redis_connection_hash="b1946ac9", flow=flow_file)._on == "other"
        monkeypatch.setenv("DATAFLOW_FLOW", str(flow_file))
        agent = "http://172.17.0.1:24118/"
        assert QManager(redis_agent_host=agent, redis_connection_hash="b1946ac9")._on == "other"
        with pytest.raises(UserError, match=r"several connections \(main, other\)"):
            QManager(redis_agent_host=agent)
        for word in ("http://10.0.0.9:24118/", "store", "172.17.0.1:19000"):
            with pytest.raises(UnknownName, match="aliases"):
                QManager(redis_agent_host=word)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({}, "no Redis is named"),
        ({"redis_agent_host": "http://172.17.0.1:24118/"}, "alias"),
        ({"redis_agent_host": "redis://h:1/0", "redis_connection_hash": "x"}, "leave it out"),
        ({"redis_agent_host": "redis://h:1/0", "batch_size": 0}, "at least 1"),
    ],
)
def test_arguments_that_name_no_server(given: dict[str, object], words: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DATAFLOW_FLOW", raising=False)
    with pytest.raises(UserError, match=words):
        QManager(**given)  # type: ignore[arg-type]


def test_a_flow_file_that_cannot_be_used(tmp_path: Path) -> None:
    (tmp_path / "flow.yml").write_text("flow: [")
    with pytest.raises(FlowError):
        QManager(flow=tmp_path / "flow.yml")


def test_a_server_that_is_away_or_full_raises(own_redis: RedisServer) -> None:
    with QManager(batch_size=10, redis_agent_host=own_redis.url) as qm:
        qm.parrallel_write_msg(SOURCE, rows(10))
        own_redis.client().config_set("maxmemory", "1")
        with pytest.raises(ServerFull):
            qm.parrallel_write_msg(SOURCE, rows(10))
        assert qm.xdel(SOURCE, qm.extract_msg_id(qm.xrange(SOURCE)["data"]))["data"] == 10, "room can be made"
        own_redis.stop()
        verbs = (qm.info, lambda: qm.xrange(SOURCE), lambda: qm.parrallel_write_msg(SOURCE, rows(1)))
        for verb in verbs:
            with pytest.raises((ServerAway, DataflowError)):
                verb()
