"""The real servers that tests lean on."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest
import redis

from dataflow.process import ProcessId
from dataflow.testing.servers import RedisServer

pytestmark = pytest.mark.integration


def test_it_runs_the_program_that_it_says(both_redis: RedisServer) -> None:
    with both_redis.client(decode_responses=True) as client:
        told = client.info("server")
    assert tuple(int(part) for part in told["redis_version"].split(".")) == both_redis.version
    assert told["process_id"] == both_redis.pid


def test_data_survive_a_kill_and_a_restart(own_redis: RedisServer) -> None:
    with own_redis.client() as client:
        client.set("kept", "yes")
        url, first = own_redis.url, own_redis.pid
        own_redis.kill()
        own_redis.start()
        assert client.get("kept") == b"yes"
        own_redis.restart()
        assert client.get("kept") == b"yes"
    assert own_redis.url == url
    assert own_redis.pid != first


def test_a_cut_loses_what_was_written_after_it_and_no_more(both_redis: RedisServer) -> None:
    with RedisServer(both_redis.binary) as server, server.client() as client:
        client.set("kept", "yes")
        cut = server.log_bytes()
        client.set("lost", "yes")
        server.restart_cut_at(cut)
        assert (client.get("kept"), client.get("lost")) == (b"yes", None)


def test_a_full_disk_refuses_writes_until_there_is_room() -> None:
    with RedisServer() as server, server.client() as client:
        server.fill_disk()
        wait_until(lambda: _is_refused(client))
        server.free_disk()
        wait_until(lambda: not _is_refused(client))


def test_a_frozen_server_does_not_answer_until_it_thaws(own_redis: RedisServer) -> None:
    with own_redis.client(socket_timeout=0.2) as client:
        own_redis.freeze()
        with pytest.raises(redis.TimeoutError):
            client.ping()
        own_redis.thaw()
        assert client.ping()


def test_settings_reach_the_server() -> None:
    with (
        RedisServer(settings={"maxmemory": "20mb"}) as server,
        server.client(decode_responses=True) as client,
    ):
        assert client.config_get("maxmemory") == {"maxmemory": "20971520"}


def test_nothing_is_left_after_the_context() -> None:
    with RedisServer() as server:
        pid, folder = server.pid, server.folder
    assert ProcessId.of(pid) is None
    assert not folder.exists()


def test_the_url_fixture_is_an_empty_database(redis_url: str) -> None:
    with redis.Redis.from_url(redis_url) as client:
        assert client.dbsize() == 0
        client.set("left behind", "by this test")


def test_the_url_fixture_is_empty_again(redis_url: str) -> None:
    with redis.Redis.from_url(redis_url) as client:
        assert client.dbsize() == 0


def _is_refused(client: redis.Redis) -> bool:
    try:
        client.set("n", 1)
    except redis.ResponseError as error:
        assert "MISCONF" in str(error)
        return True
    return False


def wait_until(holds: Callable[[], bool], timeout_s: float = 20.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.05)
