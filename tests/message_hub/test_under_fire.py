"""The client and the hub under load while processes are killed: what was accepted is stored, once."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from dataflow.client import Hub
from dataflow.flow.load import load
from dataflow.store.declare import apply
from dataflow.store.keys import Keys
from dataflow.store.redis import Client, call, connect
from dataflow.testing.servers import RedisServer
from tests.message_hub.support import HubProcess, free_message, wait_for

pytestmark = pytest.mark.acceptance

STREAM = "free.stream_in"
SENDERS = 3
PER_CALL = 40


class Load:
    """Senders that send until told to stop; every call must end well."""

    def __init__(self, url: str) -> None:
        self.accepted: list[str] = []
        self.troubles: list[BaseException] = []
        self._url = url
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._send, args=(lane,)) for lane in range(SENDERS)]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(timeout=60)
            assert not thread.is_alive()

    def goes_on(self, log: Callable[[], str]) -> None:
        """Wait until plenty more was accepted."""
        before = len(self.accepted)
        wait_for(lambda: self.troubles or len(self.accepted) >= before + 2 * SENDERS * PER_CALL, log, 40)
        assert self.troubles == []

    def _send(self, lane: int) -> None:
        try:
            with Hub(self._url, timeout_s=10, patience_s=60) as hub:
                first = 0
                while not self._stop.is_set():
                    messages = (free_message(n, lane=lane) for n in range(first, first + PER_CALL))
                    self.accepted += hub.send(messages).ids
                    first += PER_CALL
        except BaseException as trouble:  # told to the test, which runs in another thread
            self.troubles.append(trouble)
            raise


class Scene:
    """A hub as a process on a Redis of its own."""

    def __init__(self, folder: Path, server: RedisServer) -> None:
        self.server = server
        self.hub = HubProcess(folder, server.url, workers=2, threads=4)
        roomy = self.hub.path.read_text(encoding="utf-8").replace("max_len: 5000", "max_len: 10000000")
        self.hub.path.write_text(roomy, encoding="utf-8")
        self.redis: Client = connect(server.url)
        self.keys = Keys("tests")
        apply(load(self.hub.path), self.redis)

    def children(self) -> list[int]:
        """The processes that take requests."""
        pid = self.hub.pid
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii").split()]

    def stored(self) -> list[str]:
        """The ids of all messages in the stream, in order."""
        rows = call(self.redis, "XRANGE", self.keys.stream(STREAM).stream, "-", "+")
        return [fields[1].decode() for _, fields in rows]


@pytest.fixture
def scene(tmp_path: Path, own_redis: RedisServer) -> Iterator[Scene]:
    made = Scene(tmp_path, own_redis)
    with made.hub:
        yield made


def kill_a_child(scene: Scene) -> None:
    os.kill(scene.children()[0], signal.SIGKILL)


def kill_the_hub(scene: Scene) -> None:
    children = scene.children()
    scene.hub.end(signal.SIGKILL)
    wait_for(lambda: not any(map(_alive, children)), lambda: f"children outlive the hub: {children}", 5)
    scene.hub.start()


def stop_the_hub(scene: Scene) -> None:
    assert scene.hub.end(signal.SIGTERM) == 0
    scene.hub.start()


def kill_redis(scene: Scene) -> None:
    scene.server.kill()
    scene.server.start()


@pytest.mark.parametrize("strike", [kill_a_child, kill_the_hub, stop_the_hub, kill_redis])
def test_what_was_accepted_is_stored_once(scene: Scene, strike: Callable[[Scene], None]) -> None:
    load = Load(scene.hub.url)
    load.start()
    try:
        load.goes_on(lambda: scene.hub.log)
        for _ in range(2):
            strike(scene)
            load.goes_on(lambda: scene.hub.log)
    finally:
        load.stop()
    stored = scene.stored()
    assert len(set(load.accepted)) == len(load.accepted)
    assert sorted(stored) == sorted(load.accepted)
    assert "Traceback" not in scene.hub.log


def _alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0] not in "ZX"
    except FileNotFoundError:
        return False
