"""ClickHouse over TLS: a real server behind a front with certificates of its own, and who is not talked to."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from urllib.parse import urlencode

import pytest

from dataflow.clickhouse.address import ServerAddress
from dataflow.clickhouse.link import Link
from dataflow.errors import ServerAway
from dataflow.testing.servers import ClickHouseServer
from dataflow.warehouse import connect
from tests.dataflow.tls import Authority
from tests.dataflow.tls_front import TlsFront

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def authorities(tmp_path_factory: pytest.TempPathFactory) -> tuple[Authority, Authority]:
    """One that has signed the server, and another."""
    folder = tmp_path_factory.mktemp("tls")
    return Authority(folder / "ours"), Authority(folder / "others")


@pytest.fixture
def front(authorities: tuple[Authority, Authority], clickhouse: ClickHouseServer) -> Iterator[TlsFront]:
    with TlsFront(authorities[0].sign("server"), clickhouse.port) as front:
        yield front


def url(front: TlsFront, **options: str | Path) -> str:
    user = ClickHouseServer.WRITER_PASSWORD.replace("@", "%40").replace(":", "%3A").replace("/", "%2F")
    return f"clickhouses://writer:{user}@127.0.0.1:{front.port}/default?{urlencode(options)}"


def version(address: str) -> tuple[int, ...]:
    with closing(Link(ServerAddress.read(address))) as link:
        return link.version()


def test_with_the_right_authority_it_answers(front: TlsFront, authorities: tuple[Authority, Authority]) -> None:
    (row,) = connect(url(front, ca_certs=authorities[0].certificate)).rows("SELECT 1 AS one")
    assert row == {"one": 1} and front.let_through >= 1


@pytest.mark.parametrize("trusted", ["others", "those of the system"])
def test_a_server_that_nobody_vouches_for_is_not_talked_to(
    front: TlsFront, authorities: tuple[Authority, Authority], trusted: str
) -> None:
    options = {"ca_certs": authorities[1].certificate} if trusted == "others" else {}
    with pytest.raises(ServerAway, match="certificate verify failed"):
        version(url(front, **options))
    assert front.let_through == 0


def test_a_certificate_for_another_host_is_not_taken(
    authorities: tuple[Authority, Authority], clickhouse: ClickHouseServer
) -> None:
    pair = authorities[0].sign("elsewhere", "DNS:store.example.org")
    with TlsFront(pair, clickhouse.port) as front, pytest.raises(ServerAway, match="certificate is not valid for"):
        version(url(front, ca_certs=authorities[0].certificate))


def test_the_name_that_the_certificate_is_for_may_be_given(
    authorities: tuple[Authority, Authority], clickhouse: ClickHouseServer
) -> None:
    pair = authorities[0].sign("named", "DNS:store.example.org")
    with TlsFront(pair, clickhouse.port) as front:
        address = url(front, ca_certs=authorities[0].certificate, server_hostname="store.example.org")
        assert version(address) >= (18,)


def test_a_server_without_tls_is_told(clickhouse: ClickHouseServer, authorities: tuple[Authority, Authority]) -> None:
    address = f"clickhouses://127.0.0.1:{clickhouse.port}?{urlencode({'ca_certs': authorities[0].certificate})}"
    with pytest.raises(ServerAway, match=f"127.0.0.1:{clickhouse.port}"):
        version(address)
