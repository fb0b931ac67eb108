"""`dataflow hub` as a process: real gunicorn, real sockets, signals, a project with folders named like ours."""

from __future__ import annotations

import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest

from dataflow.flow.load import load
from dataflow.store.declare import apply
from dataflow.store.keys import Keys
from dataflow.store.live import live
from dataflow.store.redis import Client, call, connect
from dataflow.testing.servers import RedisServer
from tests.message_hub.support import HubProcess, flow_text, message, wait_for

pytestmark = pytest.mark.acceptance

KEYS = Keys("tests")


def applied(url: str, folder: Path) -> Client:
    """A client of a Redis in which the flow is applied."""
    client = connect(url)
    path = folder / "applied.yml"
    path.write_text(flow_text(url), encoding="utf-8")
    apply(load(path), client)
    return client


def depth(client: Client, stream: str) -> int:
    return int(call(client, "XLEN", KEYS.stream(stream).stream))


@pytest.fixture
def redis(redis_url: str, tmp_path: Path) -> Client:
    return applied(redis_url, tmp_path)


@pytest.fixture
def hub(redis: Client, redis_url: str, tmp_path: Path) -> Iterator[HubProcess]:
    with HubProcess(tmp_path, redis_url, workers=1, threads=2) as process:
        yield process


def exchange(hub: HubProcess, head: str, body: bytes, *, shut: bool = True) -> bytes:
    """Send raw bytes, close our half, and read what comes until the end."""
    with socket.create_connection(("127.0.0.1", hub.port), timeout=10) as link:
        link.sendall(head.replace("\n", "\r\n").encode() + body)
        if shut:
            link.shutdown(socket.SHUT_WR)
        parts = []
        while part := link.recv(65536):
            parts.append(part)
        return b"".join(parts)


POST = "POST /message_hub/ HTTP/1.1\nHost: localhost\nConnection: close\nContent-Type: application/x-ndjson\n"


def test_a_sender_that_breaks_off_in_mid_body_stores_nothing(hub: HubProcess, redis: Client) -> None:
    line = json.dumps(message()).encode() + b"\n"
    exchange(hub, f"{POST}Content-Length: {2 * len(line)}\n\n", line)
    exchange(hub, f"{POST}Transfer-Encoding: chunked\n\n", b"%x\r\n%b\r\n" % (len(line), line))
    exchange(hub, f"{POST}Transfer-Encoding: chunked\n\n", b"%x\r\n%b" % (len(line) + 5, line))
    assert depth(redis, "meter.stream_in") == 0
    answer = exchange(
        hub, f"{POST}Transfer-Encoding: chunked\n\n", b"%x\r\n%b\r\n0\r\n\r\n" % (len(line), line), shut=False
    )
    assert answer.startswith(b"HTTP/1.1 202 ")
    assert depth(redis, "meter.stream_in") == 1


def test_a_body_of_unknown_length_has_a_limit_too_and_the_hub_lives_on(
    redis: Client, redis_url: str, tmp_path: Path
) -> None:
    def pieces() -> Iterator[bytes]:
        for _ in range(64):
            yield b" " * 1024

    with HubProcess(tmp_path, redis_url, workers=1, threads=2, environ={"DATAFLOW_MAX_BODY_BYTES": "4096"}) as hub:
        link = http.client.HTTPConnection("127.0.0.1", hub.port, timeout=10)
        for _ in range(3):
            link.request("POST", "/message_hub/", pieces(), {"Content-Type": "application/json"}, encode_chunked=True)
            answer = link.getresponse()
            body = json.loads(answer.read())
            assert (answer.status, body["status"]) == (413, False)
            link.close()
        assert httpx.post(f"{hub.url}/message_hub", json=[message()], trust_env=False).status_code == 202


def test_folders_of_the_user_that_are_named_like_ours_do_no_harm(redis: Client, redis_url: str, tmp_path: Path) -> None:
    for name in ("message_hub", "workers", "sync", "dataflow"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text("raise SystemExit('the wrong package')\n")
    with HubProcess(tmp_path, redis_url) as hub:
        assert httpx.post(f"{hub.url}/message_hub/", json=[message()], trust_env=False).status_code == 202


def test_sigterm_lets_requests_in_hand_be_answered_and_ends_in_good_order(redis_url: str, tmp_path: Path) -> None:
    with RedisServer() as server, ExitStack() as links:
        redis = applied(server.url, tmp_path)
        patient = {"DATAFLOW_REDIS_TIMEOUT_S": "30"}
        with HubProcess(tmp_path, server.url, workers=1, threads=4, environ=patient) as hub:
            wait_for(lambda: live(redis, KEYS), lambda: "no heartbeat")
            server.freeze()
            line = json.dumps(message()).encode() + b"\n"
            request = f"{POST}Content-Length: {len(line)}\n\n".replace("\n", "\r\n").encode() + line
            senders = [links.enter_context(socket.create_connection(("127.0.0.1", hub.port), 20)) for _ in range(3)]
            for sender in senders:
                sender.sendall(request)
            wait_for(lambda: _unread(hub.port) == [0, 0, 0], lambda: "the requests were not read")
            process = hub.process
            assert process is not None
            process.send_signal(signal.SIGTERM)
            wait_for(lambda: "Handling signal: term" in hub.log, lambda: hub.log)
            server.thaw()
            assert [sender.recv(12) for sender in senders] == [b"HTTP/1.1 202"] * 3
            assert process.wait(timeout=30) == 0
            assert not [one for one in live(redis, KEYS) if one.kind == "hub"]
            assert depth(redis, "meter.stream_in") == 3


def _post(hub: HubProcess, messages: list[dict[str, Any]]) -> int:
    return httpx.post(f"{hub.url}/message_hub/", json=messages, timeout=20, trust_env=False).status_code


def _unread(port: int) -> list[int]:
    """Of each established connection to a local port, the bytes that the server has not read yet."""
    table = [row.split() for row in Path("/proc/net/tcp").read_text(encoding="ascii").splitlines()[1:]]
    ours = [row for row in table if row[1].endswith(f":{port:04X}") and row[3] == "01"]
    return [int(row[4].partition(":")[2], 16) for row in ours]


def test_the_flow_is_followed_when_it_is_applied_anew(hub: HubProcess, redis: Client) -> None:
    assert _post(hub, [{**message(), "task_for": "new"}]) == 404
    changed = hub.path.read_text(encoding="utf-8").replace("task_for: meter", "task_for: new")
    hub.path.write_text(changed, encoding="utf-8")
    assert _post(hub, [{**message(), "task_for": "new"}]) == 404
    apply(load(hub.path), redis)
    wait_for(lambda: _post(hub, [{**message(), "task_for": "new"}]) == 202, lambda: hub.log)
    hub.path.write_text(changed.replace("task_for: new", "task_for: [broken"), encoding="utf-8")
    call(redis, "HSET", KEYS.applied, "digest", "another", "revision", 99)
    wait_for(lambda: "cannot be used" in _ready(hub)["trouble"], lambda: hub.log)
    assert _post(hub, [{**message(), "task_for": "new"}]) == 202


def _ready(hub: HubProcess) -> dict[str, Any]:
    data: dict[str, Any] = httpx.get(f"{hub.url}/readyz", trust_env=False).json()["data"]
    return data


def test_a_heartbeat_is_seen_for_every_process(redis: Client, redis_url: str, tmp_path: Path) -> None:
    with HubProcess(tmp_path, redis_url, workers=2) as hub:
        wait_for(lambda: len(_beating(redis)) == 2, lambda: hub.log)
        assert {one.facts["bind"] for one in _beating(redis)} == {f"127.0.0.1:{hub.port}"}


def test_the_hub_outlives_the_folder_that_it_was_started_in(redis: Client, redis_url: str, tmp_path: Path) -> None:
    """An upgrade of the flow puts a new folder in the place of the old one; a worker that dies then is replaced."""
    folder = tmp_path / "flow"
    folder.mkdir()
    with HubProcess(folder, redis_url, workers=1) as hub:
        wait_for(lambda: len(_beating(redis)) == 1, lambda: hub.log)
        (former,) = _beating(redis)
        folder.rename(tmp_path / "old")
        shutil.copytree(tmp_path / "old", folder)
        shutil.rmtree(tmp_path / "old")
        process = Path(f"/proc/{hub.pid}")
        assert str((process / "cwd").readlink()).endswith(" (deleted)")
        os.kill(int(former.process.rpartition(".")[2]), signal.SIGKILL)
        wait_for(lambda: {one.process for one in _beating(redis)} - {former.process}, lambda: hub.log)
        wait_for(hub.is_ready, lambda: hub.log)
        assert _post(hub, [message()]) == 202
        assert hub.end(signal.SIGTERM) == 0


def _beating(redis: Client) -> list[Any]:
    return [one for one in live(redis, KEYS) if one.kind == "hub"]


@pytest.mark.parametrize(
    ("text", "code", "said"),
    [
        ("flow: [", 1, "flow.yml:1"),
        (flow_text("redis://127.0.0.1:1").replace('"redis://127.0.0.1:1"', "embedded"), 3, "dataflow up"),
    ],
)
def test_what_keeps_the_hub_from_starting_is_told_in_a_line(tmp_path: Path, text: str, code: int, said: str) -> None:
    (tmp_path / "flow.yml").write_text(text, encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-P", "-m", "dataflow", "hub", "flow.yml"],
        cwd=tmp_path,
        env={"PATH": os.environ["PATH"]},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == code, done.stderr
    assert said in done.stderr
    assert "Traceback" not in done.stderr
