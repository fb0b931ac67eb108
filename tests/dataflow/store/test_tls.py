"""Redis over TLS: a real server with certificates of its own, and who is not talked to."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlencode

import pytest
from celery import Celery

from dataflow.broker import broker_url
from dataflow.errors import OutcomeUnknown, ServerAway
from dataflow.store.redis import call, connect
from dataflow.testing.servers import RedisServer
from dataflow.up.ports import free_port
from dataflow.up.redis_server import binaries, version
from tests.dataflow.tls import Authority

pytestmark = pytest.mark.integration


class Secure:
    """A Redis that talks TLS, and demands a certificate of who talks to it."""

    def __init__(self, folder: Path) -> None:
        self.ours, self.others = Authority(folder / "ours"), Authority(folder / "others")
        self.mine = self.ours.sign("client")
        self.port = free_port()

    def settings(self, address: str) -> dict[str, str]:
        certificate, key = self.ours.sign("server", address)
        return {
            "tls-port": str(self.port), "tls-cert-file": str(certificate), "tls-key-file": str(key),
            "tls-ca-cert-file": str(self.ours.certificate), "tls-auth-clients": "yes",
        }  # fmt: skip

    def url(self, authority: Authority | None, pair: tuple[Path, Path] | None) -> str:
        options = {"ssl_ca_certs": authority.certificate} if authority else {}
        options |= {"ssl_certfile": pair[0], "ssl_keyfile": pair[1]} if pair else {}
        return f"rediss://127.0.0.1:{self.port}/0" + (f"?{urlencode(options)}" if options else "")


@pytest.fixture(scope="module")
def secure(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Secure]:
    made = Secure(tmp_path_factory.mktemp("tls"))
    newest = max(binaries(), key=version)
    with RedisServer(newest, settings=made.settings("IP:127.0.0.1")):
        yield made


def ping(url: str) -> object:
    client = connect(url, timeout_s=3)
    try:
        return call(client, "PING")
    finally:
        client.close()


def test_with_the_right_certificates_it_answers(secure: Secure) -> None:
    assert ping(secure.url(secure.ours, secure.mine)) == b"PONG"


@pytest.mark.parametrize("trusted", ["others", "none"])
def test_a_server_that_nobody_vouches_for_is_not_talked_to(secure: Secure, trusted: str) -> None:
    with pytest.raises(ServerAway, match="certificate verify failed"):
        ping(secure.url(secure.others if trusted == "others" else None, secure.mine))


def test_a_certificate_for_another_address_is_not_taken(tmp_path: Path) -> None:
    elsewhere = Secure(tmp_path)
    settings = elsewhere.settings("DNS:redis.example.org")
    with (
        RedisServer(max(binaries(), key=version), settings=settings),
        pytest.raises(ServerAway, match="certificate is not valid for"),
    ):
        ping(elsewhere.url(elsewhere.ours, elsewhere.mine))


@pytest.mark.parametrize("pair", ["others", "none"])
def test_the_server_does_not_let_strangers_in(secure: Secure, pair: str) -> None:
    stranger = secure.others.sign("stranger") if pair == "others" else None
    with pytest.raises((ServerAway, OutcomeUnknown), match=f"127.0.0.1:{secure.port}"):
        ping(secure.url(secure.ours, stranger))


def test_hints_go_over_tls_too(secure: Secure) -> None:
    url = broker_url(secure.url(secure.ours, secure.mine), {})
    app = Celery("tls", broker=url, backend=url)
    app.conf.update(broker_transport_options={"socket_timeout": 3}, redis_socket_timeout=3)
    sent = app.send_task("any", queue="q", retry=False)
    assert app.backend.get_task_meta(sent.id)["status"] == "PENDING"
    client = connect(url.replace("ssl_cert_reqs=required&", "").replace("&ssl_cert_reqs=required", ""), timeout_s=3)
    assert call(client, "LLEN", "q") == 1
    client.close()
    app.close()


def test_hints_do_not_go_to_a_server_that_nobody_vouches_for(secure: Secure) -> None:
    app = Celery("tls", broker=broker_url(secure.url(secure.others, secure.mine), {}))
    with pytest.raises(Exception, match="certificate verify failed"):
        app.send_task("any", queue="q", retry=False)
    app.close()
