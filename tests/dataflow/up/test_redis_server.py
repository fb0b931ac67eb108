"""Finding and starting redis-server."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from dataflow.testing.servers import RedisServer
from dataflow.up import redis_server
from dataflow.up.redis_server import DataTooNew, NoRedisServer, RedisCommand, check_data, find_binary, serving_pid


def fake(folder: Path, version: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "redis-server"
    path.write_text(f"#!/bin/sh\necho 'Redis server v={version} sha=0:0 malloc=libc bits=64'\n")
    path.chmod(0o755)
    return path


def test_the_one_on_path_comes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mine = fake(tmp_path, "9.8.7")
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    assert find_binary() == mine
    assert redis_server.version(mine) == (9, 8, 7)


def test_a_copy_beside_the_interpreter_is_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An activated virtual environment with the wheel in it must not change which server opens the data."""
    fake(tmp_path / "venv" / "bin", "6.2.14")
    machine = fake(tmp_path / "usr", "7.0.15")
    monkeypatch.setattr(sys, "prefix", str(tmp_path / "venv"))
    monkeypatch.setenv("PATH", os.pathsep.join([str(tmp_path / "venv" / "bin"), str(tmp_path / "usr")]))
    assert find_binary() == machine


def test_one_that_cannot_run_is_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    broken, good = fake(tmp_path / "a", "?"), fake(tmp_path / "b", "7.0.1")
    broken.write_text("#!/bin/sh\nexit 127\n")
    monkeypatch.setattr(redis_server, "_on_path", lambda: broken)
    monkeypatch.setattr(redis_server, "in_wheel", lambda: good)
    assert redis_server.binaries() == [good]


def test_two_of_one_version_count_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one, two = fake(tmp_path / "a", "7.0.1"), fake(tmp_path / "b", "7.0.1")
    monkeypatch.setattr(redis_server, "_on_path", lambda: one)
    monkeypatch.setattr(redis_server, "in_wheel", lambda: two)
    assert redis_server.binaries() == [one]


def test_without_any_the_message_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(redis_server, "binaries", list)
    with pytest.raises(NoRedisServer, match=r"apt-get install redis-server.*embedded.*URL"):
        find_binary()


def test_an_old_server_never_opens_data_that_it_would_not_see(tmp_path: Path) -> None:
    old, new = fake(tmp_path / "old", "6.2.14"), fake(tmp_path / "new", "7.0.0")
    data = tmp_path / "data"
    data.mkdir()
    check_data(old, data)
    (data / "appendonlydir").mkdir()
    check_data(new, data)
    with pytest.raises(DataTooNew, match="start empty"):
        check_data(old, data)


def test_it_is_told_to_keep_what_it_acknowledged_and_to_stay_on_loopback(tmp_path: Path) -> None:
    command = RedisCommand(Path("redis-server"), 4000, tmp_path, {"maxmemory": "1gb"})
    words = command.arguments
    options = dict(zip(words[1::2], words[2::2], strict=True))
    expected = {
        "--bind": "127.0.0.1",
        "--port": "4000",
        "--dir": str(tmp_path),
        "--appendonly": "yes",
        "--appendfsync": "everysec",
        "--maxmemory-policy": "noeviction",
        "--maxmemory": "1gb",
    }
    assert expected.items() <= options.items()


@pytest.mark.integration
def test_data_of_an_older_server_are_taken_over_by_a_newer_one() -> None:
    found = sorted(redis_server.binaries(), key=redis_server.version)
    with RedisServer(found[0]) as server:
        with server.client() as client:
            client.set("kept", "yes")
        server.stop()
        server.binary = found[-1]
        server.start()
        with server.client() as client:
            assert client.get("kept") == b"yes"


@pytest.mark.integration
def test_the_pid_of_whoever_serves_is_told(own_redis: RedisServer) -> None:
    assert serving_pid(own_redis.url) == own_redis.pid
    own_redis.kill()
    assert serving_pid(own_redis.url) is None
