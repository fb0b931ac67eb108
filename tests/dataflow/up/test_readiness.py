"""A child is ready when it answers itself, not when its port is open."""

from __future__ import annotations

import http.server
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator

import pytest

from dataflow.store.keys import Keys
from dataflow.store.live import beat
from dataflow.store.redis import connect
from dataflow.testing.servers import RedisServer
from dataflow.up import readiness
from dataflow.up.ports import free_port, is_free

pytestmark = pytest.mark.integration

LISTEN = "import socket; s = socket.create_server(('127.0.0.1', 0)); print(s.getsockname()[1], flush=True); input()"


@pytest.fixture
def answering() -> Iterator[int]:
    """Port of a web server in this process that answers 200 to everything."""

    class Fine(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            """Quiet."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Fine) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_port
        server.shutdown()


def test_a_session_is_known_by_the_sockets_of_its_processes() -> None:
    child = subprocess.Popen(
        [sys.executable, "-c", LISTEN], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True
    )
    with child:
        assert child.stdout is not None
        port = int(child.stdout.readline())
        assert readiness.listens(child.pid, port)
        assert not readiness.listens(os.getsid(0), port)
        assert not readiness.listens(child.pid, free_port())
        child.communicate("\n")
    assert not readiness.listens(child.pid, port)


def test_another_program_on_the_hubs_port_is_not_the_hub(answering: int) -> None:
    url = f"http://127.0.0.1:{answering}"
    assert readiness.door_answers(url)(os.getsid(0))
    stranger = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE, start_new_session=True)
    assert not readiness.door_answers(url)(stranger.pid)
    stranger.communicate(b"\n")


def test_another_redis_on_the_port_is_not_ours(own_redis: RedisServer) -> None:
    assert readiness.redis_answers(own_redis.url)(own_redis.pid)
    assert not readiness.redis_answers(own_redis.url)(os.getpid())


def test_a_room_is_ready_when_this_very_process_beats_and_nothing_is_set_up_any_more(redis_url: str) -> None:
    keys = Keys("water")
    host = socket.gethostname()
    ready = readiness.beats(lambda: redis_url, keys, "worker", "anomaly")
    with connect(redis_url) as redis:
        beat(redis, keys, "worker", f"other@{host}.1")
        beat(redis, keys, "sync", f"anomaly@{host}.1")
        assert not ready(1)
        beat(redis, keys, "worker", f"anomaly@{host}.1", ready=False)
        assert not ready(1)
        beat(redis, keys, "worker", f"anomaly@{host}.1", ready=True)
        assert ready(1)
        assert not ready(2)


def test_no_redis_means_not_ready() -> None:
    url = f"redis://127.0.0.1:{free_port()}/0"
    assert not readiness.beats(lambda: url, Keys("water"), "worker", "anomaly")(1)
    assert not readiness.redis_answers(url)(1)


def test_a_preferred_port_is_taken_only_if_it_is_free(answering: int) -> None:
    assert not is_free("127.0.0.1", answering)
    assert free_port(answering) != answering
    port = free_port()
    assert free_port(port) == port
