"""The API as a process, with a real sync process behind it: between two Redis servers, and into a table over TCP."""

from __future__ import annotations

import base64
import json
import signal
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import httpx
import pytest

from dataflow.broker import broker_url
from dataflow.clickhouse.address import ServerAddress
from dataflow.clickhouse.link import Link
from dataflow.store.redis import call, connect
from dataflow.testing.servers import ClickHouseServer, RedisServer
from tests.sync.api.site import SOURCE, TARGET, Site, body_s2ch, body_s2s
from tests.sync.lab import until

pytestmark = [pytest.mark.integration, pytest.mark.acceptance]

JSON = {"Accept": "application/json"}


@pytest.fixture
def two(redis_url: str, own_redis: RedisServer, tmp_path: Path) -> Iterator[Site]:
    site = Site(tmp_path, redis_url, own_redis.url)
    assert site.command("apply").returncode == 0
    with closing(site):
        yield site


def test_from_one_redis_to_another_by_the_older_body(two: Site) -> None:
    two.fill(SOURCE, 1000)
    with two.running("sync", "sync-api"):
        answer = two.http.post("/s2s/", json=body_s2s())
        assert answer.status_code == 200 and answer.headers["Content-Type"].startswith("text/plain")
        assert len(answer.text) == 36, "the bare id"
        text = two.http.get(f"/get_result/{answer.text}").text
        assert text.startswith("more: read 100, written 100, skipped 0, dead 0, remaining 900, ")
        again = two.http.request("GET", "/s2s", json=body_s2s(max_exec_cnt=1000), headers=JSON).json()
        assert (again["status"], again["data"]["edge"]) == (True, "onward")
        found = two.http.get(f"/get_result/{again['data']['task_id']}", headers=JSON).json()
        assert {name: found[name] for name in ("state", "read", "written", "skipped", "dead", "remaining")} == {
            "state": "empty", "read": 900, "written": 900, "skipped": 0, "dead": 0, "remaining": 0,
        }  # fmt: skip
        assert found["seconds"] > 0 and found["batches"] == 90
        until(lambda: two.length(two.near, SOURCE) == 0, 20)  # the target has confirmed what it has
    assert two.arrived() == list(range(1000)), "each once, in order"


def test_into_a_table_over_tcp_by_the_older_body(
    clickhouse: ClickHouseServer, server_table: str, redis_url: str, own_redis: RedisServer, tmp_path: Path
) -> None:
    with closing(Site(tmp_path, redis_url, own_redis.url, clickhouse.url, server_table)) as site:
        assert site.command("apply").returncode == 0
        site.fill("bills.stream_out", 2000)
        with site.running("sync", "sync-api"):
            run = site.http.post("/s2ch/", json=body_s2ch(server_table)).text
            assert site.http.get(f"/get_result/{run}").text.startswith("empty: read 2000, written 2000, ")
        with closing(Link(ServerAddress.read(clickhouse.url))) as link:
            found = link.ask(f"SELECT count(), uniqExact(_mid), sum(id), uniqExact(name) FROM {server_table}")
        assert [tuple(row) for row in found.rows] == [(2000, 2000, sum(range(2000)), 2000)]
        assert site.length(site.near, "bills.stream_out") == 0


def test_the_same_request_many_times_at_once_does_no_harm(two: Site) -> None:
    two.fill(SOURCE, 3000)
    with two.running("sync", "sync-api"):
        runs = [two.http.post("/s2s", json={"edge": "onward"}).text for _ in range(6)]
        assert len(set(runs)) == 6
        ends = [two.http.get(f"/get_result/{run}", headers=JSON).json() for run in runs]
        assert {end["state"] for end in ends} <= {"empty", "held", "fenced"}
        assert sum(end["written"] for end in ends) == 3000
        last = two.http.post("/edges/onward/run").text
        assert two.http.get(f"/get_result/{last}", headers=JSON).json()["state"] == "empty"
        until(lambda: two.length(two.near, SOURCE) == 0, 20)
    assert two.arrived() == list(range(3000))


def test_nobody_runs_it_then_somebody_does(two: Site) -> None:
    two.fill(SOURCE, 10)
    with two.running("sync-api"):
        assert two.http.get("/readyz").json()["data"] == {"sync": []}
        run = two.http.post("/s2s/", json=body_s2s()).text
        waiting = two.http.get(f"/get_result/{run}", params={"wait_s": 0.3})
        assert waiting.status_code == 202 and waiting.text.startswith("waiting: no sync process has taken it yet")
        with two.running("sync"):
            assert two.http.get(f"/get_result/{run}").text.startswith("empty: read 10, ")
            assert len(two.http.get("/readyz").json()["data"]["sync"]) == 1
    assert two.length(two.far, TARGET) == 10


def test_redis_away_is_a_503_that_says_so(own_redis: RedisServer, redis_url: str, tmp_path: Path) -> None:
    with closing(Site(tmp_path, own_redis.url, redis_url)) as site:
        assert site.command("apply").returncode == 0
        with site.running("sync-api"):
            run = site.http.post("/s2s/", json=body_s2s()).text
            own_redis.stop()
            for answer in (
                site.http.post("/s2s/", json=body_s2s()),
                site.http.post("/edges/onward/run"),
                site.http.get(f"/get_result/{run}"),
                site.http.get("/readyz"),
            ):
                assert answer.status_code == 503 and "Retry-After" in answer.headers
                assert "Redis" in answer.json()["msg"] and str(own_redis.port) in answer.json()["msg"]
            assert site.http.get("/healthz").status_code == 200
            assert site.http.get("/edges").status_code == 200
            own_redis.start()
            assert site.http.post("/s2s/", json=body_s2s()).status_code == 200


def test_a_redis_that_stands_still_does_not_hold_the_caller_for_ever(
    own_redis: RedisServer, redis_url: str, tmp_path: Path
) -> None:
    with closing(Site(tmp_path, own_redis.url, redis_url)) as site:
        assert site.command("apply").returncode == 0
        with site.running("sync-api"):
            own_redis.freeze()
            answer = site.http.post("/s2s/", json=body_s2s())
            own_redis.thaw()
            assert answer.status_code == 503 and "did not answer" in answer.json()["msg"]


def test_it_ends_on_a_signal_though_someone_waits(two: Site) -> None:
    with two.running("sync-api") as (process,):
        run = two.http.post("/s2s/", json=body_s2s()).text
        with pytest.raises(httpx.TimeoutException):
            two.http.get(f"/get_result/{run}", timeout=0.5)
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0


def test_it_loads_no_warehouse_and_its_hints_hold_no_address(two: Site, redis_url: str) -> None:
    with two.running("sync-api") as (process,):
        two.http.post("/s2s/", json=body_s2s())
        with closing(connect(broker_url(redis_url, {}))) as broker:
            hints = call(broker, "LRANGE", "dataflow.buff", 0, -1)
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        maps = [Path(f"/proc/{pid}/maps").read_text() for pid in [str(process.pid), *children]]
    assert len(hints) == 1 and b"onward" in base64.b64decode(json.loads(hints[0])["body"])
    assert b"172.17" not in base64.b64decode(json.loads(hints[0])["body"])
    assert children and not any("chdb" in one for one in maps)
