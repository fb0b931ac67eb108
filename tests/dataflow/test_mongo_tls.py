"""MongoDB over TLS: a real server behind a front with certificates of its own, and who is not talked to."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from urllib.parse import urlencode

import pytest

from dataflow.errors import ServerAway
from dataflow.mongo import answered, connect
from dataflow.testing.mongo import MongoServer
from tests.dataflow.tls import Authority
from tests.dataflow.tls_front import TlsFront

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def authorities(tmp_path_factory: pytest.TempPathFactory) -> tuple[Authority, Authority]:
    """One that has signed the server, and another."""
    folder = tmp_path_factory.mktemp("tls")
    return Authority(folder / "ours"), Authority(folder / "others")


@pytest.fixture
def front(authorities: tuple[Authority, Authority], mongo: MongoServer) -> Iterator[TlsFront]:
    with TlsFront(authorities[0].sign("server"), mongo.port) as front:
        yield front


def ping(front: TlsFront, **options: str | Path) -> object:
    asked = urlencode({"tls": "true", "directConnection": "true", "serverSelectionTimeoutMS": "1500", **options})
    with closing(connect(f"mongodb://127.0.0.1:{front.port}/?{asked}")) as client, answered("ping"):
        return client.admin.command("ping")["ok"]


def test_with_the_right_authority_it_answers(front: TlsFront, authorities: tuple[Authority, Authority]) -> None:
    assert ping(front, tlsCAFile=authorities[0].certificate) == 1
    assert front.let_through >= 1


@pytest.mark.parametrize("trusted", ["others", "those of the system"])
def test_a_server_that_nobody_vouches_for_is_not_talked_to(
    front: TlsFront, authorities: tuple[Authority, Authority], trusted: str
) -> None:
    options = {"tlsCAFile": authorities[1].certificate} if trusted == "others" else {}
    with pytest.raises(ServerAway, match="certificate verify failed"):
        ping(front, **options)
    assert front.let_through == 0


def test_a_certificate_for_another_host_is_not_taken(
    authorities: tuple[Authority, Authority], mongo: MongoServer
) -> None:
    pair = authorities[0].sign("elsewhere", "DNS:tasks.example.org")
    with TlsFront(pair, mongo.port) as front, pytest.raises(ServerAway, match="certificate is not valid for"):
        ping(front, tlsCAFile=authorities[0].certificate)
