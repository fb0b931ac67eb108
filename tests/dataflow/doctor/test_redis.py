"""The doctor on real Redis servers, well and badly set up."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

import dataflow.store.scripts as store_scripts
from dataflow import doctor
from dataflow.doctor import broker
from dataflow.doctor.finding import Finding
from dataflow.doctor.redis import RedisFacts, examine, judge
from dataflow.testing.servers import RedisServer
from dataflow.up.ports import free_port

_CALL = re.compile(
    r"(?:call|try|in_chunks)\('([A-Z]+(?:', '(?:GROUPS|STREAM|CONSUMERS|CREATE|SETID|DESTROY|DELCONSUMER))?)'"
)
WELL = RedisFacts(
    host="db.example",
    info={"redis_version": "7.2.4", "maxmemory_policy": "noeviction", "aof_enabled": "1", "maxmemory": "1000000",
          "used_memory": "1000", "role": "master"},
    appendfsync="everysec", refused=(), open=False, latency_ms=0.2, skew_s=0.01,
)  # fmt: skip


def _levels(found: list[Finding]) -> dict[str, str]:
    return {finding.code: finding.level for finding in found}


def _judged(**changed: object) -> dict[str, str]:
    facts = {name: getattr(WELL, name) for name in RedisFacts.__slots__} | changed
    return _levels(list(judge("redis main", RedisFacts(**facts))))


def test_a_server_that_is_set_up_well_gives_no_advice() -> None:
    assert set(_judged().values()) == {"ok"}


@pytest.mark.parametrize(
    ("info", "code", "level"),
    [
        ({"redis_version": "6.0.16"}, "version", "wrong"),
        ({"redis_version": "6.2.14"}, "version", "note"),
        ({"maxmemory_policy": "allkeys-lru"}, "eviction", "wrong"),
        ({"maxmemory_policy": "volatile-ttl"}, "eviction", "wrong"),
        ({"aof_enabled": "0"}, "aof", "wrong"),
        ({"aof_last_write_status": "err"}, "disk", "wrong"),
        ({"rdb_last_bgsave_status": "err"}, "disk", "wrong"),
        ({"loading": "1"}, "loading", "wrong"),
        ({"role": "slave"}, "replica", "wrong"),
        ({"maxmemory": "0"}, "memory", "note"),
        ({"used_memory": "950000"}, "memory", "wrong"),
    ],
)
def test_each_fault_is_told(info: dict[str, str], code: str, level: str) -> None:
    found = _judged(info={**WELL.info, **info})
    assert found.pop(code) == level
    assert set(found.values()) == {"ok"}


def test_faults_that_are_not_in_info() -> None:
    assert _judged(appendfsync="no")["aof"] == "wrong"
    assert _judged(appendfsync="")["aof"] == "note"
    assert _judged(refused=("XADD: NOPERM",))["rights"] == "wrong"
    assert _judged(open=True)["password"] == "wrong"
    assert _judged(open=True, host="127.0.0.1")["password"] == "note"
    assert _judged(skew_s=-90.0)["clock"] == "wrong"


@pytest.fixture
def bad() -> Iterator[RedisServer]:
    """A server as nobody should run one."""
    settings = {"maxmemory": "100mb", "maxmemory-policy": "allkeys-lru", "appendonly": "no"}
    with RedisServer(settings=settings) as server:
        yield server


@pytest.mark.integration
def test_a_badly_set_up_server(bad: RedisServer) -> None:
    found = examine("main", bad.url, "f")
    levels = _levels(found)
    assert (levels["eviction"], levels["aof"]) == ("wrong", "wrong")
    assert levels["rights"] == levels["clock"] == levels["memory"] == "ok"
    remedies = " ".join(finding.remedy for finding in found)
    assert "maxmemory-policy noeviction" in remedies and "appendonly yes" in remedies


@pytest.mark.integration
def test_what_it_says_to_change_makes_it_well(bad: RedisServer) -> None:
    client = bad.client()
    client.config_set("maxmemory-policy", "noeviction")
    client.config_set("appendonly", "yes")
    client.close()
    levels = _levels(examine("main", asker(bad), "f"))
    assert (levels["eviction"], levels["aof"]) == ("ok", "ok")


@pytest.mark.integration
def test_appendfsync_is_judged_where_it_may_be_asked_for(bad: RedisServer) -> None:
    with bad.client() as client:
        client.config_set("appendonly", "yes")
        client.config_set("appendfsync", "no")
    (aof,) = [finding for finding in examine("main", asker(bad), "f") if finding.code == "aof"]
    assert aof.level == "wrong" and "appendfsync everysec" in aof.remedy


def asker(server: RedisServer) -> str:
    """The address of a user of this server who may ask for settings, which the operator that is shipped may not."""
    with server.client() as client:
        client.execute_command("ACL", "SETUSER", "asker", "on", ">any", "~*", "+@all")
    return server.url.replace("redis://", "redis://asker:any@")


def test_it_tries_every_command_that_the_scripts_call() -> None:
    scripts = Path(store_scripts.__file__).parent.glob("*.lua")
    called = {match for one in scripts for match in _CALL.findall(one.read_text())}
    assert len(called) > 30
    assert called - set(_CALL.findall(Path(doctor.__file__).with_name("probe.lua").read_text())) == set()


@pytest.mark.integration
def test_it_leaves_nothing_behind(both_redis_url: str) -> None:
    levels = _levels(examine("main", both_redis_url, "f"))
    assert levels["rights"] == "ok", levels
    with redis.Redis.from_url(both_redis_url) as client:
        assert client.dbsize() == 0


@pytest.mark.integration
def test_what_a_user_may_not_do_is_named(own_redis: RedisServer) -> None:
    client = own_redis.client()
    client.execute_command("ACL", "SETUSER", "poor", "on", ">secret", "~{f}:*", "+@all", "-xadd", "-config", "-hset")
    client.close()
    found = examine("main", own_redis.url.replace("redis://", "redis://poor:secret@"), "f")
    (rights,) = [finding for finding in found if finding.code == "rights"]
    assert rights.level == "wrong" and "XADD" in rights.text and "HSET" in rights.text and "XGROUP" not in rights.text
    (aof,) = [finding for finding in found if finding.code == "aof"]
    assert aof.level == "note" and "appendfsync unknown" in aof.text


@pytest.mark.integration
def test_a_server_whose_memory_is_full(own_redis: RedisServer) -> None:
    client = own_redis.client()
    client.config_set("maxmemory", "1mb")
    client.close()
    found = _levels(examine("main", own_redis.url, "f"))
    assert (found["memory"], found["rights"]) == ("wrong", "ok")


@pytest.mark.integration
def test_a_password(own_redis: RedisServer) -> None:
    client = own_redis.client()
    client.config_set("requirepass", "hunter2")
    client.close()
    refused = examine("main", own_redis.url, "f")
    assert _levels(refused) == {"refused": "wrong"}
    welcome = examine("main", own_redis.url.replace("redis://", "redis://:hunter2@"), "f")
    assert _levels(welcome)["password"] == "ok"
    assert "hunter2" not in str([*refused, *welcome])


def test_a_server_that_is_away() -> None:
    (finding,) = examine("main", f"redis://:hunter2@127.0.0.1:{free_port()}/0", "f")
    assert (finding.level, finding.code) == ("wrong", "unreachable") and "hunter2" not in str(finding)


@pytest.mark.parametrize(
    ("broker_url", "level"),
    [("redis://localhost:6379", "wrong"), ("redis://:secret@127.0.0.1/0", "wrong"), ("redis://127.0.0.1/1", "ok")],
)
def test_the_broker_has_a_database_of_its_own(broker_url: str, level: str) -> None:
    assert broker.judge_place(broker_url, {"main": "redis://127.0.0.1:6379/0"}).level == level


@pytest.mark.integration
def test_the_broker_must_answer(redis_url: str) -> None:
    assert {finding.level for finding in broker.examine(redis_url[:-1] + "1", {"main": redis_url})} == {"ok"}
    assert broker.examine(f"redis://127.0.0.1:{free_port()}/1", {"main": redis_url})[-1].level == "wrong"
