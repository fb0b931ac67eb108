"""`make_a_request`: what may be called, and what calls do."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

import pytest
from werkzeug.serving import make_server

from dataflow.access.ring import add_key
from dataflow.store.keys import Keys
from dataflow.store.redis import connect
from dataflow.up.ports import free_port
from scheduler.jobs.kind import BadJob
from scheduler.jobs.kinds import Jobs
from scheduler.jobs.request import RequestJob, hands_out_secrets, is_own, request_of
from tests.scheduler.rig import Rig

ALLOW = ("http://127.0.0.1:24104/s2s", "https://api.example.org")


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1:24104/s2s",
        "http://127.0.0.1:24104/s2s/",
        "http://127.0.0.1:24104/s2s/x?y=1",
        "https://api.example.org",
        "https://API.example.org:443/any/thing",
    ],
)
def test_what_is_allowed_and_what_lies_below_may_be_called(url: str) -> None:
    assert request_of({"url": url}, ALLOW).url.geturl() == url


@pytest.mark.parametrize(
    "url",
    [
        None, "", "x", 5, "ftp://127.0.0.1/", "file:///etc/passwd", "http://", "http://[", "http://127.0.0.1:x/",
        "http://127.0.0.1:24104/", "http://127.0.0.1:24104/s2sx", "http://127.0.0.1:24104/s2s/../admin",
        "http://127.0.0.1:24104/s2s/%2e%2e/admin", "http://127.0.0.1:24104/s2s/%252e%252e/admin",
        "http://127.0.0.1:24104/s2s/..%5cadmin", "http://127.0.0.1:24104/s2s/..;x/admin",
        "http://127.0.0.1:24104/s2s/%25252525252e", "http://127.0.0.1:24105/s2s", "https://127.0.0.1:24104/s2s",
        "http://127.0.0.1:24104@evil.example/s2s", "http://u:p@127.0.0.1:24104/s2s", "http://api.example.org/",
        "https://api.example.org.evil.example/", "http://127.0.0.1:24104/s2s\r\nX: y", "http://127.0.0.1:24104/s2s x",
    ],
)  # fmt: skip
def test_anything_else_may_not(url: object) -> None:
    with pytest.raises(BadJob):
        request_of({"url": url}, ALLOW)


@pytest.mark.parametrize(
    "path",
    [
        "%c0%ae%c0%ae/x", "%e0%80%ae%e0%80%ae/x", "%25c0%25ae%25c0%25ae/x", "%ff", ".%00./x", "x%00", ".%2500./x",
        "x%0d%0aY:%20z", "%ed%a0%80",
    ],
)  # fmt: skip
def test_a_path_that_servers_read_in_different_ways_is_refused(path: str) -> None:
    for allow in (ALLOW, (*ALLOW, f"{ALLOW[0]}/{path}")):
        with pytest.raises(BadJob, match="not UTF-8"):
            request_of({"url": f"{ALLOW[0]}/{path}"}, allow)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"method": "TRACE"}, "TRACE"),
        ({"timeout_s": 0}, "timeout_s"),
        ({"timeout_s": 1e9}, "timeout_s"),
        ({"timeout_s": True}, "timeout_s"),
        ({"headers": {}}, "headers"),
    ],
)
def test_arguments_must_make_sense(arguments: dict[str, Any], says: str) -> None:
    with pytest.raises(BadJob, match=says):
        request_of({"url": ALLOW[1], **arguments}, ALLOW)


def test_a_body_makes_it_a_post() -> None:
    assert request_of({"url": ALLOW[1]}, ALLOW).method == "GET"
    request = request_of({"url": ALLOW[1], "json": {"a": 1}}, ALLOW)
    assert (request.method, request.body) == ("POST", b'{"a": 1}')
    assert request_of({"url": ALLOW[1], "json": None, "method": "put"}, ALLOW).method == "PUT"


@pytest.mark.parametrize(
    "address",
    [
        "169.254.169.254", "169.254.0.1", "fe80::1", "fe80::1%eth0", "::ffff:169.254.169.254", "::169.254.169.254",
        "64:ff9b::a9fe:a9fe", "2002:a9fe:a9fe::1", "fd00:ec2::254", "100.100.100.200", "::ffff:100.100.100.200",
        "fd00:ec2::23", "fd00:ec2:ffff::1", "64:ff9b:1:a9fe:a9:fe00::", "64:ff9b:1:a9:fe:a9fe::",
        "64:ff9b:1:0:a9:fea9:fe00::", "64:ff9b:1:6464:64:c800::",
        "168.63.129.16", "192.0.0.192", "64:ff9b:1::a9fe:a9fe", "::ffff:0:169.254.169.254", "2001:db8::5efe:a9fe:a9fe",
    ],
)  # fmt: skip
def test_addresses_that_hand_out_secrets_are_known(address: str) -> None:
    assert hands_out_secrets(address)


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1", "10.0.0.1", "::1", "8.8.8.8", "::ffff:10.0.0.1", "fd00:ec3::1", "64:ff9b:1::a00:1",
        "64:ff9b:1:a00:0:100::",
    ],
)  # fmt: skip
def test_others_are_not(address: str) -> None:
    assert not hands_out_secrets(address)


def test_a_name_is_checked_by_what_it_stands_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """A declared name whose owner points it at a cloud's secrets: nothing is connected to, whatever else it means."""
    found = [(0, 0, 0, "", (address, 80)) for address in ("127.0.0.1", "::ffff:169.254.169.254")]
    monkeypatch.setattr("socket.getaddrinfo", lambda *_, **__: found)
    monkeypatch.setattr("socket.create_connection", lambda *_, **__: pytest.fail("connected"))
    outcome = call("http://inner.example.org/", "http://inner.example.org/")
    assert outcome.state == "error" and "never called" in outcome.error


class Answers(BaseHTTPRequestHandler):
    """Answers by the path; notes what came."""

    seen: list[tuple[str, str, bytes]]
    keys: list[str | None]

    def do_GET(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        type(self).seen.append((self.command, self.path, body))
        type(self).keys.append(self.headers.get("Authorization"))
        status = {"/ok/away": 302, "/ok/broken": 500, "/ok/closed": 401}.get(self.path.partition("?")[0], 200)
        self.send_response(status)
        if status == 302:
            self.send_header("Location", "/ok/elsewhere")
        self.end_headers()
        self.wfile.write(b"x" * 100_000 if self.path == "/ok/long" else b"done")

    do_POST = do_GET

    def log_message(self, *_: object) -> None:
        """Silence."""


@pytest.fixture
def server() -> Iterator[str]:
    Answers.seen, Answers.keys = [], []
    with ThreadingHTTPServer(("127.0.0.1", 0), Answers) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/ok"
        server.shutdown()
        thread.join()


def call(url: str, allow: str, **arguments: Any) -> Any:
    return RequestJob(lambda: [allow]).run({"url": url, **arguments}, 0, "")


@pytest.mark.integration
def test_a_call_is_made_and_its_answer_kept(server: str) -> None:
    outcome = call(f"{server}/x?y=1", server, json={"edge": "e"})
    assert (outcome.state, outcome.error, outcome.facts) == ("ok", "", {"status": 200, "answer": "done"})
    assert [(m, p, json.loads(b)) for m, p, b in Answers.seen] == [("POST", "/ok/x?y=1", {"edge": "e"})]


@pytest.mark.integration
@pytest.mark.parametrize("query", ["api-key=hunter2", "sig=hunter2", "%74oken=hunter2&client-secret=hunter2"])
def test_secrets_of_a_query_are_sent_and_not_shown(server: str, query: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    gone = f"http://127.0.0.1:{port}"
    for base, allowed in ((f"{server}/broken", server), (gone, gone)):
        outcome = call(f"{base}?{query}", allowed)
        assert outcome.state == "error" and "***" in outcome.error and "hunter2" not in outcome.error
    assert Answers.seen[0][1] == f"/ok/broken?{query}"
    with pytest.raises(BadJob) as refused:
        call(f"http://elsewhere/?{query}", server)
    assert "***" in str(refused.value) and "hunter2" not in str(refused.value)


@pytest.mark.integration
def test_a_redirect_is_not_followed(server: str) -> None:
    outcome = call(f"{server}/away", server)
    assert outcome.state == "error" and "302 (redirects are not followed)" in outcome.error
    assert [path for _, path, _ in Answers.seen] == ["/ok/away"]


@pytest.mark.integration
def test_an_error_of_the_server_is_an_error_of_the_run(server: str) -> None:
    assert "status 500" in call(f"{server}/broken", server).error


@pytest.mark.integration
def test_a_long_answer_is_cut(server: str) -> None:
    assert len(call(f"{server}/long", server).facts["answer"]) == 500


class Drip:
    """A server that sends the same bytes for ever, one by one."""

    def __init__(self, head: bytes, drop: bytes) -> None:
        self._head, self._drop = head, drop
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._serve)
        self.host = f"127.0.0.1:{self._listener.getsockname()[1]}"

    def __enter__(self) -> Drip:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
        self._listener.close()

    def _serve(self) -> None:
        link, _ = self._listener.accept()
        with link, suppress(OSError):
            link.sendall(self._head)
            while not self._stop.wait(0.05):
                link.sendall(self._drop)


@pytest.mark.integration
@pytest.mark.parametrize(
    ("scheme", "head", "drop"),
    [
        ("http", b"", b"H"),
        ("http", b"HTTP/1.1 200 OK\r\nX-Long: ", b"x"),
        ("http", b"HTTP/1.1 200 OK\r\n\r\n", b"x"),
        ("http", b"HTTP/1.1 200 OK\r\nContent-Length: 60000\r\n\r\n", b"x"),
        ("http", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"0"),
        ("https", b"\x16\x03\x03\x40\x00", b"\x02"),
    ],
    ids=["status line", "header", "body", "body of a known length", "size of a chunk", "handshake"],
)
def test_the_time_of_a_call_is_that_of_all_of_it(scheme: str, head: bytes, drop: bytes) -> None:
    with Drip(head, drop) as server:
        url, began = f"{scheme}://{server.host}/", time.monotonic()
        outcome = call(url, url, timeout_s=0.5)
    assert outcome.state == "error" and "did not end in time" in outcome.error
    assert 0.4 < time.monotonic() - began < 3


def test_a_name_that_is_looked_up_too_long_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    go_on = threading.Event()
    monkeypatch.setattr("socket.getaddrinfo", lambda *_, **__: go_on.wait(30) and [])
    try:
        outcome = call("http://slow.example.org/", "http://slow.example.org/", timeout_s=0.2)
    finally:
        go_on.set()
    assert outcome.state == "error" and "not found in time" in outcome.error


@pytest.mark.integration
def test_what_is_beyond_ascii_is_sent_as_utf_8(server: str) -> None:
    assert call(f"{server}/größe?füße=ä%20b", f"{server}/größe").state == "ok"
    assert [path for _, path, _ in Answers.seen] == ["/ok/gr%C3%B6%C3%9Fe?f%C3%BC%C3%9Fe=%C3%A4%20b"]


def test_what_is_allowed_may_be_written_either_way() -> None:
    packed, plain = "http://h/gr%C3%B6%C3%9Fe", "http://h/größe"
    for allow in (packed, plain):
        assert [request_of({"url": url}, [allow]).url.geturl() for url in (packed, plain)] == [packed, packed]
        with pytest.raises(BadJob):
            request_of({"url": "http://h/grösse"}, [allow])


@pytest.mark.parametrize("host", ["bücher.example", "ｌocalhost", "127。0。0。1", "u:hünter2@h"])
def test_a_host_beyond_ascii_is_refused_and_told_how(host: str) -> None:
    with pytest.raises(BadJob, match="ASCII") as refused:
        request_of({"url": f"http://{host}/"}, [f"http://{host}/"])
    assert "nter2" not in str(refused.value)


def test_a_server_that_is_not_there_is_an_error_of_the_run() -> None:
    outcome = call("http://127.0.0.1:1/", "http://127.0.0.1:1/")
    assert outcome.state == "error" and "refused" in outcome.error


def test_link_local_is_refused_though_allowed() -> None:
    outcome = call("http://169.254.169.254/latest/", "http://169.254.169.254/")
    assert outcome.state == "error" and "never called" in outcome.error


@pytest.mark.parametrize(
    "url",
    [
        "http://u:hunter2@127.0.0.1:24104/s2s", "http://u:hun/ter2@127.0.0.1:24104/s2s", "http://u:hun ter2@h/",
        "ftp://u:hunter2@h/", "http://api.example.org/?token=hunter2", "https://api.example.org.evil/?api_key=hunter2",
    ],
)  # fmt: skip
def test_a_refusal_does_not_show_a_password(url: str) -> None:
    with pytest.raises(BadJob) as refused:
        request_of({"url": url}, ALLOW)
    assert "hunter2" not in str(refused.value) and "ter2" not in str(refused.value) and "***" in str(refused.value)


def test_a_failed_call_does_not_show_a_token() -> None:
    assert "hunter2" not in call("http://127.0.0.1:1/?token=hunter2", "http://127.0.0.1:1/").error


# -- the key of the flow's own services

OWN = ("http://127.0.0.1:24104", "http://hub.example.org:24100")
KEY = f"dfk_{'0' * 12}_{'a' * 43}"


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:24104/s2s/", "http://localhost:24104/", "http://HUB.example.org:24100/x"]
)
def test_what_is_our_own(url: str) -> None:
    assert is_own(urlsplit(url), OWN)


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1:24105/", "https://127.0.0.1:24104/", "http://127.0.0.2:24104/", "http://127.0.0.1/",
        "http://hub.example.org:24104/", "http://hub.example.org.evil.example:24100/", "http://10.0.0.1:24104/",
    ],
)  # fmt: skip
def test_what_is_not(url: str) -> None:
    assert not is_own(urlsplit(url), OWN)


def keyed(url: str, own: str, key: str | None = KEY) -> Any:
    return RequestJob(lambda: [url], lambda: [own], lambda: key).run({"url": url}, 0, "")


@pytest.mark.integration
def test_our_own_service_is_sent_the_key_and_nobody_else(server: str) -> None:
    assert keyed(server, server.removesuffix("/ok")).state == "ok"
    assert keyed(server, "http://127.0.0.1:24104").state == "ok"
    assert Answers.keys == [f"Bearer {KEY}", None]


@pytest.mark.integration
def test_no_key_goes_where_our_own_service_redirects_to(server: str) -> None:
    assert "not followed" in keyed(f"{server}/away", server).error
    assert Answers.keys == [f"Bearer {KEY}"]


@pytest.mark.integration
def test_who_is_not_let_in_learns_what_to_do(server: str) -> None:
    assert "own services only" in keyed(f"{server}/closed", "http://127.0.0.1:24104").error
    assert "DATAFLOW_API_KEY" in keyed(f"{server}/closed", server, None).error
    assert "does not hold" in keyed(f"{server}/closed", server).error


@pytest.mark.integration
def test_a_task_may_call_the_flows_own_api_once_the_flow_has_keys(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    with connect(rig.redis_url) as redis:
        _, token = add_key(redis, Keys("f"), "tasks", ("operate",))
    port = free_port()
    own = f"http://127.0.0.1:{port}"
    text = rig.path.read_text().replace("timezone: UTC", f'timezone: UTC, port: {port}, allow: ["{own}"]')
    rig.path.write_text(text)
    _, app = rig.app()
    monkeypatch.setattr("werkzeug.serving.WSGIRequestHandler.log", lambda *_: None)
    server = make_server("127.0.0.1", port, app)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    job = Jobs(lambda: rig.flow, rig.hints).find("make_a_request")
    try:
        monkeypatch.delenv("DATAFLOW_API_KEY", raising=False)
        assert "status 401 (the flow has API keys" in job.run({"url": f"{own}/get_jobs"}, 0, "").error  # type: ignore[union-attr]
        monkeypatch.setenv("DATAFLOW_API_KEY", token.text)
        outcome = job.run({"url": f"{own}/get_jobs"}, 0, "")
        assert outcome is not None and (outcome.state, outcome.facts["status"]) == ("ok", 200)
        assert token.text not in str(outcome)
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
