"""Which edge a body means, and what is refused and why."""

from __future__ import annotations

from typing import Any

import pytest

from dataflow.flow.load import loads
from dataflow.flow.spec import Flow
from dataflow.web.answer import Refusal
from sync.api.body import Bounds, given_in
from sync.api.choice import Kind, Wish, chosen
from tests.sync.api.site import AGENT, FLOW, SOURCE, body_s2ch, body_s2s

NEAR, FAR = "redis://:hunter2@plant:6379/0", "redis://centre:6380/2"
STORE = "clickhouse://writer:hunter3@store:9000/bills_db"
MORE = """
  again:
    kind: s2s
    from: bills.stream_out
    route: {by: name, cases: {x: BUFF.andy.test1.stream_in}, other: BUFF.andy.test1.stream_in}
  loose: {kind: s2ch, from: BUFF.andy.test0.stream_out, to: store.loose}
"""


@pytest.fixture(scope="module")
def flow() -> Flow:
    text = FLOW.format(port=24104, near=NEAR, far=FAR, clickhouse=STORE, table="bills")
    return loads(text + MORE.removeprefix("\n"))


def refusal(flow: Flow, kind: Kind, given: dict[str, Any]) -> Refusal:
    with pytest.raises(Refusal) as refused:
        chosen(flow, kind, given)
    assert "hunter" not in refused.value.msg
    return refused.value


def s2s(**more: Any) -> dict[str, Any]:
    return {name: value for name, value in body_s2s(**more).items() if value is not None}


def s2ch(**more: Any) -> dict[str, Any]:
    given = {"target_ch_database": "bills_db", "target_ch_user": "writer", **more}
    return {name: value for name, value in body_s2ch(**given).items() if value is not None}


def test_the_streams_choose_the_edge(flow: Flow) -> None:
    assert chosen(flow, "s2s", s2s()) == Wish(flow.edges["onward"], Bounds(max_batches=10, batch=10))


def test_the_table_chooses_the_edge(flow: Flow) -> None:
    assert chosen(flow, "s2ch", s2ch()) == Wish(flow.edges["archive"], Bounds(max_batches=100, batch=100))


def test_the_name_alone_is_enough(flow: Flow) -> None:
    assert chosen(flow, "s2s", {"edge": "onward"}) == Wish(flow.edges["onward"], Bounds())
    assert chosen(flow, "s2s", {"edge": "again", "max_exec_cnt": 3}).bounds == Bounds(3)


def test_the_smaller_number_bounds_the_batch(flow: Flow) -> None:
    assert chosen(flow, "s2s", s2s(source_read_batch_num=7, target_write_batch_num=3)).bounds.batch == 3


@pytest.mark.parametrize(
    "word",
    [AGENT, AGENT.rstrip("/"), "near", "plant:6379", "redis://plant:6379", "redis://plant:6379/0"],
)
def test_a_server_is_known_by_its_aliases_its_name_and_its_own_address(flow: Flow, word: str) -> None:
    assert chosen(flow, "s2s", s2s(source_redis_agent_host=word)).edge.name == "onward"


def test_a_hash_is_an_alias_too(flow: Flow) -> None:
    assert chosen(flow, "s2s", s2s(target_connection_hash="far-hash")).edge.name == "onward"
    assert "far-hash" in refusal(flow, "s2s", s2s(source_connection_hash="far-hash")).msg


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"source_redis_agent_host": "http://10.0.0.9:24118/"}, ("10.0.0.9", "'near'", "aliases", "ever connected to")),
        ({"target_redis_agent_host": "redis://plant:6379"}, ("'far'", "BUFF.andy.test1.stream_in")),
        ({"source_redis_agent_host": "redis://:hunter2@plant:6379/0"}, ("holds a user or a password",)),
        ({"source_stream": "nothing.stream_out"}, ("no edge of kind s2s", "nothing.stream_out", "dataflow apply")),
        ({"target_stream": "nothing.stream_in"}, ("from that stream there are: onward",)),
        ({"target_q_max_len": 5}, ("target_q_max_len is 5", "100000")),
        ({"max_exec_cnt": 0}, ("max_exec_cnt", "from 1")),
        ({"max_exec_cnt": True}, ("max_exec_cnt", "not true")),
        ({"max_exec_cnt": "10.0"}, ("max_exec_cnt", 'not "10.0"')),
        ({"source_read_batch_num": -1}, ("source_read_batch_num",)),
        ({"source_stream": ["a"]}, ("source_stream must be text",)),
        ({"soruce_stream": "x"}, ("soruce_stream",)),
        ({"edge": "nothing"}, ("no edge 'nothing'", "onward")),
        ({"edge": "archive"}, ("of kind s2ch", "/s2ch/")),
        ({"edge": "again"}, ("leads from bills.stream_out",)),
    ],
)
def test_what_does_not_match_is_refused_and_told_why(flow: Flow, more: dict[str, Any], words: tuple[str, ...]) -> None:
    told = refusal(flow, "s2s", s2s(**more))
    assert 400 <= told.status < 500
    for word in words:
        assert word in told.msg


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"target_ch_host": "10.0.0.9"}, ("10.0.0.9:19000", "'store'", "aliases")),
        ({"target_ch_port": 19001}, ("172.17.0.1:19001",)),
        ({"target_ch_port": "19001"}, ("172.17.0.1:19001",)),
        ({"target_ch_port": "19000x"}, ("target_ch_port must be a whole number", 'not "19000x"')),
        ({"target_ch_port": "-1"}, ('not "-1"',)),
        ({"target_ch_port": True}, ("not true",)),
        ({"target_ch_host": None}, ("target_ch_port without target_ch_host",)),
        ({"target_ch_host": "::1"}, ("[::1]:19000",)),
        ({"target_ch_database": "other"}, ("target_ch_database is 'other'", "'bills_db'")),
        ({"target_ch_user": "root"}, ("signs in as another user",)),
        ({"target_ch_insert_cols": ["id"]}, ("target_ch_insert_cols are id", "stores id, name")),
        ({"target_ch_insert_cols": "id"}, ("must be a list of names",)),
        ({"target_ch_insert_cols": []}, ("must be a list of names",)),
        ({"target_ch_insert_pid_name": "nr"}, ("target_ch_insert_pid_name 'nr'", "id, name")),
        ({"target_ch_insert2table_name": "other"}, ("no edge of kind s2ch", "archive")),
        ({"target_stream": "x"}, ("target_stream",)),
    ],
)
def test_what_does_not_match_a_table_is_refused(flow: Flow, more: dict[str, Any], words: tuple[str, ...]) -> None:
    told = refusal(flow, "s2ch", s2ch(**more))
    assert told.status == 422
    for word in words:
        assert word in told.msg


def test_the_servers_own_address_and_the_order_of_columns_do_not_matter(flow: Flow) -> None:
    given = s2ch(target_ch_host="store", target_ch_port=9000, target_ch_insert_cols=["name", "id", "_mid"])
    assert chosen(flow, "s2ch", given).edge.name == "archive"
    assert chosen(flow, "s2ch", s2ch(target_ch_port="19000", max_exec_cnt="3")).bounds.max_batches == 3


def test_columns_of_an_edge_that_states_none_must_be_fields_of_the_stream(flow: Flow) -> None:
    given = {"source_stream": SOURCE, "target_ch_insert2table_name": "loose", "target_ch_insert_cols": ["msg_id"]}
    assert chosen(flow, "s2ch", given).edge.name == "loose"
    assert "has msg_id, data" in refusal(flow, "s2ch", {**given, "target_ch_insert_cols": ["nothing"]}).msg


@pytest.mark.parametrize("name", ["target_ch_pwd", "password", "source_redis_PASSWD", "api_key", "token"])
def test_a_secret_is_refused_and_not_shown(name: str) -> None:
    with pytest.raises(Refusal) as refused:
        given_in({"edge": "onward", name: "hunter2"})
    assert refused.value.status == 422 and name in refused.value.msg and "hunter2" not in refused.value.msg
    assert "flow file" in refused.value.msg
