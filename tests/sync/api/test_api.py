"""The API over a real Redis, without processes: what it asks for, what it answers, what it refuses."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest
from flask.testing import FlaskClient
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dataflow.broker import broker_url
from dataflow.store.live import SILENT_AFTER_S, beat
from dataflow.store.redis import call, connect
from dataflow.store.runs import AskedRuns
from sync.api import runs
from sync.api.choice import KEYS
from tests.sync.api.site import Site, body_s2ch, body_s2s

pytestmark = pytest.mark.integration

JSON = {"Accept": "application/json"}


@pytest.fixture
def asked(site: Site) -> AskedRuns:
    return AskedRuns(site.near, site.keys)


def outcome(**more: Any) -> dict[str, Any]:
    return {"state": "empty", "read": 3, "written": 2, "skipped": 0, "dead": 1, "remaining": 0, "seconds": 0.25, **more}


@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize("address", ["/s2s", "/s2s/", "/s2ch", "/s2ch/"])
def test_both_methods_and_both_forms_of_an_address(http: FlaskClient, method: str, address: str) -> None:
    body = body_s2ch() if "s2ch" in address else body_s2s()
    answer = http.open(address, method=method, json=body)
    assert answer.status_code == 200, answer.text
    assert answer.mimetype == "text/plain" and len(answer.text) == 36


def test_json_for_those_who_ask_for_it(http: FlaskClient) -> None:
    answer = http.post("/s2s/", json=body_s2s(), headers=JSON).get_json()
    assert answer == {
        "status": True, "msg": "ok", "name": "s2s", "duration": answer["duration"],
        "data": {"task_id": answer["data"]["task_id"], "edge": "onward"},
    }  # fmt: skip


def test_an_edge_by_its_name(http: FlaskClient) -> None:
    assert http.post("/edges/onward/run", headers=JSON).get_json()["data"]["edge"] == "onward"
    assert http.post("/edges/archive/run/", json={"max_batches": 3, "batch": 10}).status_code == 200
    answer = http.post("/edges/nothing/run")
    assert answer.status_code == 404 and "onward, archive" in answer.get_json()["msg"]
    assert http.post("/edges/onward/run", json={"max_exec_cnt": 3}).status_code == 422
    assert http.post("/edges/onward/run", headers={"Origin": "http://elsewhere"}).status_code == 415


def test_the_edges_that_there_are(http: FlaskClient) -> None:
    onward, archive = http.get("/edges").get_json()["data"]
    assert (onward["name"], onward["kind"], onward["runs"]) == ("onward", "s2s", "when asked")
    assert (archive["to"], archive["columns"]) == ("store.bills", ["id", "name"])


def test_a_result_through_its_life(http: FlaskClient, asked: AskedRuns) -> None:
    run = http.post("/s2s/", json=body_s2s()).text
    now = {"wait_s": 0}
    answer = http.get(f"/get_result/{run}", query_string=now, headers=JSON)
    assert (answer.status_code, answer.get_json()["state"]) == (202, "waiting")
    assert asked.begin(run)
    answer = http.get(f"/get_result/{run}/", query_string=now, headers=JSON)
    assert (answer.status_code, answer.get_json()["state"]) == (202, "running")
    asked.end(run, outcome())
    asked.end(run, outcome(read=0))
    answer = http.get(f"/get_result/{run}", headers=JSON)
    assert answer.status_code == 200
    assert answer.get_json() == {**outcome(), "batches": 0, "edge": "onward", "error": ""}
    text = "empty: read 3, written 2, skipped 0, dead 1, remaining 0, 0.250 s"
    assert http.get(f"/get_result/{run}").text == text


def test_what_went_wrong_is_part_of_the_result(http: FlaskClient, asked: AskedRuns) -> None:
    run = http.post("/s2s/", json=body_s2s()).text
    asked.end(run, outcome(state="paused", error="x" * 5000))
    assert http.get(f"/get_result/{run}").text.endswith("s: " + "x" * 2000)
    run = http.post("/s2s/", json=body_s2s()).text
    asked.end(run, outcome(state="refused", error="one\n  two\nthree"))
    assert http.get(f"/get_result/{run}").text.endswith("s: one two three")


def test_an_id_that_was_never_given_out_is_a_404(http: FlaskClient) -> None:
    for run in ("nothing", "5f0c7d0a-5a0e-4d4c-9d0e-0e6d8b4f9a10", "x:ended", "%00", "ü" * 300):
        answer = http.get(f"/get_result/{run}")
        assert answer.status_code == 404 and "no run" in answer.get_json()["msg"]


def test_a_run_that_nobody_took_is_lost(http: FlaskClient, monkeypatch: pytest.MonkeyPatch) -> None:
    run = http.post("/s2s/", json=body_s2s()).text
    monkeypatch.setattr(runs, "HINT_LIVES_S", -1.0)
    answer = http.get(f"/get_result/{run}", headers=JSON)
    assert answer.status_code == 200 and answer.get_json()["state"] == "lost"


@pytest.mark.parametrize("written", ["-1", "61", "nan", "x", "inf"])
def test_how_long_to_wait_is_bounded(http: FlaskClient, written: str) -> None:
    assert http.get(f"/get_result/x?wait_s={written}").status_code == 422


def test_too_many_who_wait_are_answered_at_once(site: Site) -> None:
    from sync.api.host import Host

    with closing(Host(site.path, waiters=1)) as host:
        waiting = runs.Runs(lambda: AskedRuns(site.near, site.keys), lambda: host._hints, 1)
        run = host.app.test_client().post("/s2s/", json=body_s2s()).text
        assert waiting._slots.acquire(blocking=False)
        began = time.monotonic()
        assert waiting.look(run, 30).outcome is None
        assert time.monotonic() - began < 5


def test_hints_that_nobody_takes_do_not_pile_up(http: FlaskClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runs, "MOST_WAITING", 2)
    answers = [http.post("/s2s/", json=body_s2s()) for _ in range(4)]
    assert [answer.status_code for answer in answers] == [200, 200, 429, 429]
    assert "dataflow sync" in answers[3].get_json()["msg"] and answers[3].headers["Retry-After"]


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        ({"data": b"{}"}, 415),
        ({"data": b"{", "content_type": "application/json"}, 400),
        ({"data": b"[" * 60000, "content_type": "application/json"}, 400),
        ({"data": b"[]", "content_type": "application/json"}, 422),
        ({"data": b'{"edge": NaN}', "content_type": "application/json"}, 400),
        ({"data": b'{"edge": "\\ud800"}', "content_type": "application/json"}, 400),
        ({"data": b"x" * 70000, "content_type": "application/json"}, 413),
        ({"json": {}}, 422),
        ({"json": {**body_s2s(), "target_ch_pwd": "hunter2"}}, 422),
    ],
)
def test_bodies_that_cannot_be_used(http: FlaskClient, sent: dict[str, Any], status: int) -> None:
    answer = http.post("/s2s/", **sent)
    assert answer.status_code == status, answer.text
    assert answer.get_json()["status"] is False and "hunter2" not in answer.text


def test_other_addresses_and_methods(http: FlaskClient) -> None:
    assert http.get("/nothing").status_code == 404
    assert http.delete("/s2s").status_code == 405
    assert http.get("/version").get_json()["data"]["flow"] == "buff"
    assert http.get("/livez").status_code == http.get("/healthz/").status_code == http.get("/readyz").status_code == 200


def test_a_flow_that_is_not_applied_is_not_ready(http: FlaskClient, site: Site) -> None:
    call(site.near, "DEL", site.keys.applied)
    answer = http.get("/readyz")
    assert answer.status_code == 503 and "dataflow apply" in answer.get_json()["msg"]


def test_readiness_names_the_sync_processes_that_live_and_no_dead_one(http: FlaskClient, site: Site) -> None:
    beat(site.near, site.keys, "sync", "sync@here.1")
    silent_ms = int((time.time() - SILENT_AFTER_S - 1) * 1000)
    call(site.near, "HSET", site.keys.live, "sync:sync@here.2", f'{{"at_ms": {silent_ms}}}')
    assert http.get("/readyz").get_json()["data"] == {"sync": ["sync@here.1"]}


def test_it_follows_a_flow_that_is_applied_anew(http: FlaskClient, site: Site) -> None:
    from dataflow.store.declare import apply

    assert http.post("/s2s", json=body_s2s(source_redis_agent_host="http://new:1/")).status_code == 422
    site.path.write_text(site.path.read_text().replace("http://172.17.0.1:24118/", "http://new:1/"))
    apply(site.flow, site.near)
    assert http.post("/s2s", json=body_s2s(source_redis_agent_host="http://new:1/")).status_code == 200


def test_a_key_of_another_kind_is_told(http: FlaskClient, site: Site) -> None:
    call(site.near, "SET", site.keys.runs[0], "x")
    answer = http.post("/s2s", json=body_s2s())
    assert answer.status_code == 503 and "WRONGTYPE" in answer.get_json()["msg"]


@pytest.fixture
def broken(site: Site, monkeypatch: pytest.MonkeyPatch, redis_url: str) -> Iterator[FlaskClient]:
    """The API with a broker that is not there, while the flow's Redis is."""
    from sync.api.host import Host

    monkeypatch.setenv("DATAFLOW_BROKER_URL", "redis://127.0.0.1:1/1")
    assert broker_url(redis_url).endswith(":1/1")
    with closing(Host(site.path, waiters=1)) as host:
        yield host.app.test_client()


def test_a_broker_that_is_away_is_a_503(broken: FlaskClient, site: Site) -> None:
    answer = broken.post("/s2s", json=body_s2s())
    assert answer.status_code == 503 and "127.0.0.1:1" in answer.get_json()["msg"]
    assert call(site.near, "HLEN", site.keys.runs[0]) == 0


ANY = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=10), inner, max_size=3),
    max_leaves=8,
)
NAMES = sorted({*KEYS["s2s"], *KEYS["s2ch"], "target_ch_pwd", "max_batches", "batch"})


@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    address=st.sampled_from(["/s2s/", "/s2ch/", "/edges/onward/run"]),
    usual=st.booleans(),
    changes=st.dictionaries(st.sampled_from(NAMES) | st.text(max_size=10), ANY, max_size=3),
)
def test_no_body_makes_it_fail(http: FlaskClient, address: str, usual: bool, changes: dict[str, Any]) -> None:
    base = {"/s2s/": body_s2s(), "/s2ch/": body_s2ch()}.get(address, {}) if usual else {}
    answer = http.post(address, json={**base, **changes})
    assert answer.status_code in (200, 404, 422, 429), answer.text


@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.binary(max_size=200) | st.text(alphabet='{}[]":,0e-nulltrue \\u', max_size=60).map(str.encode))
def test_no_bytes_make_it_fail(http: FlaskClient, data: bytes) -> None:
    answer = http.post("/s2s/", data=data, content_type="application/json")
    assert 400 <= answer.status_code < 500


def test_old_runs_are_forgotten_and_their_number_is_bounded(
    site: Site, asked: AskedRuns, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dataflow.store.runs.MOST", 5)
    for n in range(12):
        asked.ask(f"r{n}", "onward")
        asked.end(f"r{n}", outcome())
    records, ages = site.keys.runs
    assert (call(site.near, "ZCARD", ages), call(site.near, "HLEN", records)) == (5, 10)
    assert asked.find("r6") is None and asked.find("r7") is not None
    monkeypatch.setattr("dataflow.store.runs.KEPT_S", -60)  # all of this minute is too old
    assert asked.find("r11") is None
    asked.ask("r12", "onward")
    assert call(site.near, "ZCARD", ages) == 1
    assert not asked.begin("r3"), "what is forgotten takes no notes"
    with closing(connect("redis://127.0.0.1:1/0")) as nowhere, pytest.raises(Exception, match="cannot reach"):
        AskedRuns(nowhere, site.keys).find("r1")
