"""Addresses of ClickHouse servers."""

from __future__ import annotations

import pytest

from dataflow.clickhouse.address import ServerAddress
from dataflow.errors import UserError


def test_everything_that_an_address_may_say() -> None:
    found = ServerAddress.read("clickhouses://me%40x:p%2Fw%3A@host:9441/my%20lake?verify=false&connect_timeout=2.5")
    assert found == ServerAddress(
        "host", 9441, True, "me@x", "p/w:", "my lake", {"verify": False, "connect_timeout": 2.5}
    )
    assert found.place == "host:9441"
    assert found.without_database().database == ""


def test_what_is_left_out() -> None:
    assert ServerAddress.read("clickhouse://host") == ServerAddress("host", 9000, False, "default", "", "")
    assert ServerAddress.read("clickhouses://[::1]").port == 9440
    assert ServerAddress.read("clickhouses://[::1]").host == "::1"


def test_the_password_is_not_shown() -> None:
    assert "hunter2" not in repr(ServerAddress.read("clickhouse://me:hunter2@host"))


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("http://host", "clickhouse://"),
        ("clickhouse://:hunter2@", "no host"),
        ("clickhouse://me:hunter2@host:port", "port"),
        ("clickhouse://me:hunter2@host/a/b", "one database"),
        ("clickhouse://me:hunter2@host?alt_hosts=b", "alt_hosts"),
        ("clickhouse://me:hunter2@host?verify=perhaps", "verify"),
        ("clickhouse://me:hunter2@host?connect_timeout=0", "connect_timeout"),
    ],
)
def test_what_cannot_be_used_is_told_without_the_password(url: str, reason: str) -> None:
    with pytest.raises(UserError, match=reason) as refused:
        ServerAddress.read(url)
    assert "hunter2" not in str(refused.value)
