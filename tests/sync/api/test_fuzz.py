"""Anything sent to the sync API: never a 5xx, what is refused asks for no run, and nobody is ever connected to."""

from __future__ import annotations

import json
import socket
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from typing import Any
from urllib.parse import quote

import pytest
from flask.testing import FlaskClient
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from werkzeug.test import TestResponse

from dataflow.broker import broker_url
from dataflow.store.redis import Client, call, connect
from sync.api.choice import KEYS
from tests.sync.api.site import AGENT, SOURCE, TARGET, Site, body_s2ch, body_s2s

pytestmark = pytest.mark.integration

UNHURRIED = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
TEXTS = st.text(max_size=12) | st.sampled_from(
    [SOURCE, TARGET, AGENT, "bills.stream_out", "bills", "onward", "archive", "far-hash", "172.17.0.1", "id", "name",
     "", "default", "a`b", "x; DROP TABLE bills", "../..", "http://u:p@h/", "\0", "$where"]
)  # fmt: skip
SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXTS
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3), max_leaves=6
)
NAMES = st.sampled_from(sorted({*KEYS["s2s"], *KEYS["s2ch"], "password", "target_ch_pwd", "_mid"}))
CHANGES = st.dictionaries(NAMES, VALUES | st.integers(1, 1000), max_size=2)
BODIES = (
    st.dictionaries(NAMES | TEXTS, VALUES, max_size=6)
    | CHANGES.map(lambda changes: {**body_s2s(), **changes})
    | CHANGES.map(lambda changes: {**body_s2ch(), **changes})
    | st.fixed_dictionaries({"edge": TEXTS}, optional={"max_exec_cnt": VALUES, "source_read_batch_num": VALUES})
)
EDGE_PATHS = TEXTS.map(lambda text: f"/edges/{text}/run")
NUMBERS = st.dictionaries(
    st.sampled_from(["max_exec_cnt", "source_read_batch_num", "target_q_max_len"]),
    st.none() | st.integers(-3, 1000) | st.just(100000),
    max_size=2,
)
REQUESTS = st.tuples(st.just("/s2s/"), NUMBERS.map(lambda numbers: {**body_s2s(), **numbers})) | st.tuples(
    st.just("/s2ch/"), NUMBERS.map(lambda numbers: {**body_s2ch(), **numbers})
)
"""Those of which many are good."""
PATHS = st.sampled_from(["/s2s/", "/s2ch/", "/s2s", "/edges/onward/run", "/edges/archive/run"]) | EDGE_PATHS


class Asked:
    """Counts the runs that were asked for: records and hints."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self.answers: Counter[bool] = Counter()

    def runs(self) -> tuple[int, int]:
        """Records of runs, hints in the queue."""
        redis = self._site.near
        records = int(call(redis, "ZCARD", self._site.keys.runs[1]))
        return records, sum(1 for _ in self._hints())

    def _hints(self) -> Iterator[bytes]:
        with closing(self._broker()) as broker:
            yield from call(broker, "LRANGE", "dataflow.buff", 0, -1)

    def _broker(self) -> Client:
        return connect(broker_url(self._site.flow.connections["near"].url, {}))

    def check(self, before: tuple[int, int], answer: TestResponse) -> None:
        """No error of ours, and a run if and only if the answer is its id."""
        assert answer.status_code < 500, answer.text
        accepted = answer.status_code == 200
        self.answers[accepted] += 1
        assert self.runs() == (before[0] + accepted, before[1] + accepted)


def test_json_of_any_shape(site: Site, http: FlaskClient) -> None:
    asked = Asked(site)

    @given(request=st.tuples(PATHS, BODIES | VALUES) | REQUESTS)
    @UNHURRIED
    def send(request: tuple[str, Any]) -> None:
        path, body = request
        before = asked.runs()
        asked.check(before, http.post(path, json=body))

    send()
    assert min(asked.answers[True], asked.answers[False]) > 10, asked.answers


def test_bodies_of_any_bytes(site: Site, http: FlaskClient) -> None:
    asked = Asked(site)

    @given(path=PATHS, body=st.binary(min_size=1, max_size=60) | VALUES.map(lambda value: json.dumps(value).encode()))
    @UNHURRIED
    def send(path: str, body: bytes) -> None:
        before = asked.runs()
        asked.check(before, http.post(path, data=body, content_type="application/json"))

    send()
    assert asked.answers[False] > 10


@given(run=st.text(max_size=40), wait_s=st.sampled_from(["0", "-1", "nan", "inf", "x", ""]))
@UNHURRIED
def test_results_of_any_id(http: FlaskClient, run: str, wait_s: str) -> None:
    assert http.get(f"/get_result/{quote(run, safe='')}", query_string={"wait_s": wait_s}).status_code < 500


@pytest.fixture
def trap() -> Iterator[socket.socket]:
    """A port that nobody has any business with."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.setblocking(False)
        yield listening


def test_no_address_of_a_body_is_ever_connected_to(site: Site, http: FlaskClient, trap: socket.socket) -> None:
    port = trap.getsockname()[1]
    words = (
        f"http://127.0.0.1:{port}/", f"redis://127.0.0.1:{port}/0", f"127.0.0.1:{port}", f"clickhouse://127.0.0.1:{port}",
        f"//127.0.0.1:{port}", f"localhost:{port}", f"http://[::ffff:127.0.0.1]:{port}/", f"http://2130706433:{port}/",
    )  # fmt: skip
    for word in words:
        for name in ("source_redis_agent_host", "source_connection_hash", "target_redis_agent_host", "edge",
                     "target_connection_hash", "source_stream", "target_stream"):  # fmt: skip
            assert http.post("/s2s/", json=body_s2s(**{name: word})).status_code in (404, 422), (name, word)
        for name in ("source_redis_agent_host", "target_ch_host", "target_ch_insert2table_name", "target_ch_database"):
            assert http.post("/s2ch/", json=body_s2ch(**{name: word})).status_code == 422, (name, word)
    assert http.post("/s2ch/", json=body_s2ch(target_ch_host="127.0.0.1", target_ch_port=port)).status_code == 422
    with pytest.raises(BlockingIOError):
        trap.accept()
    assert Asked(site).runs() == (0, 0)


def test_the_trap_sees_who_comes(trap: socket.socket) -> None:
    with socket.create_connection(trap.getsockname()):
        trap.setblocking(True)
        trap.accept()[0].close()
