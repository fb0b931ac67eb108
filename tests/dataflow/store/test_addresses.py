"""Addresses of Redis that cannot be used are told before anything is asked, without what may be a secret."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import pytest

from dataflow.errors import UserError
from dataflow.store.redis import call, connect
from dataflow.testing.servers import RedisServer


@pytest.mark.parametrize(
    "options",
    ["/0?nonsense=hunter2", "/0?socket_timeout=hunter2", "/0?max_connections=x&password=hunter2", ":hunter2/0"],
)
@pytest.mark.parametrize("scheme", ["redis", "rediss"])
def test_an_address_that_cannot_be_used(scheme: str, options: str) -> None:
    with pytest.raises(UserError, match=r"Redis (at h )?cannot be used") as caught:
        connect(f"{scheme}://user:hunter2@h{options}")
    assert "hunter2" not in str(caught.value) and caught.value.__cause__ is None


def test_options_of_the_driver_can_be_used() -> None:
    connect("rediss://u:p@h:1/3?ssl_cert_reqs=required&ssl_ca_certs=/ca.crt&client_name=x").close()


@pytest.mark.integration
def test_a_server_on_a_socket_of_this_machine(tmp_path: Path) -> None:
    path = tmp_path / "redis.sock"
    with RedisServer(settings={"unixsocket": str(path)}), closing(connect(f"unix://{path}?db=2")) as client:
        assert call(client, "PING") == b"PONG"
