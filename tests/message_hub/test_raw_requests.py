"""Requests that no decent client sends, to a real hub: each is answered, none is a bug of ours or stores anything."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from http.client import HTTPConnection

import pytest

from dataflow.flow.load import load
from dataflow.store.declare import apply
from dataflow.store.keys import Keys
from dataflow.store.redis import Client, call, connect
from dataflow.testing.servers import RedisServer
from dataflow.web.patience import DRAIN_S, IDLE_S
from tests.message_hub.support import HubProcess, message

pytestmark = pytest.mark.acceptance

BODY = json.dumps([message()]).encode()
POST = b"POST /message_hub/ HTTP/1.1\r\nHost: [::1]\r\nConnection: close\r\n"
GET = b"GET %b HTTP/1.1\r\nHost: [::1]\r\nConnection: close\r\n\r\n"
QUESTION = b"GET /livez HTTP/1.1\r\nHost: [::1]\r\n\r\n"
SIZED = b"Content-Length: %d\r\n\r\n%b" % (len(BODY), BODY)

REFUSED = {
    "two lengths": POST + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello!",
    "negative length": POST + b"Content-Length: -5\r\n\r\n",
    "length beyond numbers": POST + b"Content-Length: 99999999999999999999\r\n\r\nx",
    "length in letters": POST + b"Content-Length: abc\r\n\r\nx",
    "length and chunks": POST + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "coding that is no coding": POST + b"Transfer-Encoding: gzip\r\n\r\n",
    "chunk size that is none": POST + b"Transfer-Encoding: chunked\r\n\r\nZZ\r\n",
    "chunk that does not end": POST + b"Transfer-Encoding: chunked\r\n\r\n2\r\n[]xx0\r\n\r\n",
    "large header": POST + b"X: " + b"a" * 100_000 + b"\r\n" + SIZED,
    "many headers": POST + b"X: a\r\n" * 500 + SIZED,
    "media type in raw bytes": POST + b"Content-Type: \xff\xfe\r\n" + SIZED,
    "charset in raw bytes": POST + b"Content-Type: application/json; charset*=utf-8''%ff\r\n" + SIZED,
    "key in raw bytes": POST + b"Idempotency-Key: \xff\xfe\r\n" + SIZED,
    "expectation": POST + b"Expect: wonders\r\n" + SIZED,
    "empty": POST + b"Content-Length: 0\r\n\r\n",
    "long address": GET % (b"/" + b"a" * 20_000),
    "no such address": GET % b"/../../etc/passwd",
    "no such method": b"BREW /message_hub/ HTTP/1.1\r\nHost: [::1]\r\nConnection: close\r\n\r\n",
    "no text": b"\x00\xff\x16\x03\x01\r\n\r\n",
    "stream of half a letter": b"POST /streams/%ed%a0%80/messages HTTP/1.1\r\nHost: [::1]\r\nConnection: close\r\n"
    + SIZED,
}
TAKEN = {
    "id with a zero byte": GET % b"/messages/a%00b",
    "id that is not UTF-8": GET % b"/messages/%ff%fe",
    "host that is none": b"GET /livez HTTP/1.1\r\nHost: a b<>\r\nConnection: close\r\n\r\n",
    "range": b"GET /livez HTTP/1.1\r\nHost: [::1]\r\nRange: bytes=0-1\r\nConnection: close\r\n\r\n",
    "options": b"OPTIONS /message_hub/ HTTP/1.1\r\nHost: [::1]\r\nConnection: close\r\n\r\n",
    "head": b"HEAD /livez HTTP/1.1\r\nHost: [::1]\r\nConnection: close\r\n\r\n",
}


HALF = {"head": b"GET /livez HTTP/1.1\r\nHost: [::1]\r\nX-A: ", "body": POST + b"Content-Length: 9\r\n\r\n["}


@pytest.fixture(scope="module")
def server() -> Iterator[RedisServer]:
    with RedisServer() as found:
        yield found


@pytest.fixture(scope="module")
def hub(server: RedisServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[HubProcess]:
    made = HubProcess(tmp_path_factory.mktemp("hub"), server.url, workers=1, threads=2)
    apply(load(made.path), connect(server.url))
    with made:
        yield made


@pytest.fixture
def redis(server: RedisServer) -> Client:
    return connect(server.url)


def status(hub: HubProcess, request: bytes) -> int:
    """Send raw bytes, close our half, and read the status of the answer."""
    with socket.create_connection(("127.0.0.1", hub.port), timeout=20) as link:
        link.sendall(request)
        link.shutdown(socket.SHUT_WR)
        answer = b""
        while part := link.recv(65536):
            answer += part
    return int(answer.split(b" ", 2)[1])


@pytest.mark.parametrize("name", REFUSED)
def test_it_is_refused_and_nothing_stored(hub: HubProcess, redis: Client, name: str) -> None:
    assert 400 <= status(hub, REFUSED[name]) < 500
    assert call(redis, "XLEN", Keys("tests").stream("meter.stream_in").stream) == 0
    assert "a request failed" not in hub.log


@pytest.mark.parametrize("name", TAKEN)
def test_it_is_answered(hub: HubProcess, name: str) -> None:
    assert status(hub, TAKEN[name]) == 200
    assert "a request failed" not in hub.log


@pytest.mark.parametrize("kind", HALF)
def test_clients_that_are_gone_in_the_middle_of_a_request_do_not_stop_it(
    hub: HubProcess, redis: Client, kind: str
) -> None:
    with ExitStack() as open_:
        for _ in range(2):  # as many as it has threads
            link = open_.enter_context(socket.create_connection(("127.0.0.1", hub.port), timeout=20))
            link.sendall(HALF[kind])
        deadline = time.monotonic() + 3 * IDLE_S
        while not answers(hub):
            assert time.monotonic() < deadline, "they hold it still"
    assert call(redis, "XLEN", Keys("tests").stream("meter.stream_in").stream) == 0


@pytest.mark.parametrize("path", [b"/nowhere", b"/message_hub/"])
def test_a_body_that_comes_too_late_is_not_taken_for_a_request(hub: HubProcess, redis: Client, path: bytes) -> None:
    inner = POST + SIZED
    with socket.create_connection(("127.0.0.1", hub.port), timeout=3 * IDLE_S) as link:
        link.sendall(b"POST %b HTTP/1.1\r\nHost: [::1]\r\nContent-Length: %d\r\n\r\n" % (path, len(inner)))
        answer = link.recv(65536)
        assert answer.startswith((b"HTTP/1.1 404", b"HTTP/1.1 400"))
        if answer.startswith(b"HTTP/1.1 404"):
            assert link.recv(65536) == b"", "it waits for the body for a while, and then ends the connection"
        with suppress(ConnectionError):  # the hub has hung up
            link.sendall(inner)
            while part := link.recv(65536):
                answer += part
    assert answer.count(b"HTTP/1.1 ") == 1
    assert call(redis, "XLEN", Keys("tests").stream("meter.stream_in").stream) == 0


def test_a_client_that_sends_on_after_its_answer_is_cut_off(hub: HubProcess) -> None:
    """Else two of them, without a key, would hold two threads for as long as a body may take."""
    with socket.create_connection(("127.0.0.1", hub.port), timeout=20) as link:
        link.sendall(b"POST /nowhere HTTP/1.1\r\nHost: [::1]\r\nContent-Length: 1000000\r\n\r\n")
        begun = time.monotonic()
        with pytest.raises(ConnectionError):
            while True:
                link.sendall(b"x" * 2000)
                time.sleep(0.5)
                assert time.monotonic() - begun < 2 * DRAIN_S + 2
    assert time.monotonic() - begun > 1


def test_clients_that_take_no_answers_do_not_stop_it(hub: HubProcess) -> None:
    with ExitStack() as open_:
        for _ in range(2):  # as many as it has threads
            link = open_.enter_context(socket.socket())
            link.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1024)
            link.connect(("127.0.0.1", hub.port))
            fill_with_questions(link)
        deadline = time.monotonic() + 3 * IDLE_S
        while not answers(hub):
            assert time.monotonic() < deadline, "they hold it still"


def fill_with_questions(link: socket.socket) -> None:
    """Send until the hub takes no more, because it waits for somebody who takes its answers."""
    link.settimeout(2)
    with pytest.raises(TimeoutError):
        while True:
            link.sendall(QUESTION * 1000)


def answers(hub: HubProcess) -> bool:
    """Whether the hub has a thread left."""
    try:
        return status(hub, GET % b"/livez") == 200
    except (OSError, IndexError):
        return False


def test_connections_that_are_kept_do_not_wait_for_each_other(hub: HubProcess) -> None:
    kept = [HTTPConnection("127.0.0.1", hub.port, timeout=20) for _ in range(6)]
    for _ in range(20):
        for one in kept:
            one.request("GET", "/livez")
        found = [one.getresponse() for one in kept]
        assert [answer.status for answer in found if answer.read()] == [200] * 6
    for one in kept:
        one.close()


def test_connections_that_send_nothing_take_no_thread(hub: HubProcess) -> None:
    """As those of a pool that connects in advance, or of a check that a port is open."""
    with ExitStack() as silent:
        for _ in range(20):
            silent.enter_context(socket.create_connection(("127.0.0.1", hub.port)))
        begun = time.monotonic()
        assert status(hub, GET % b"/livez") == 200
        assert time.monotonic() - begun < 2.0


def test_a_client_does_not_say_where_our_addresses_begin(hub: HubProcess) -> None:
    asked = b"GET /livez HTTP/1.1\r\nHost: [::1]\r\nSCRIPT_NAME: /foo\r\nConnection: close\r\n\r\n"
    assert status(hub, asked) == 200
