"""The fault proxy, in front of a real Redis."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from dataflow.errors import OutcomeUnknown, ServerAway
from dataflow.store.redis import Client, call, connect
from dataflow.testing.proxy import FAULTS, Fault, Proxy
from dataflow.testing.servers import RedisServer
from dataflow.up.ports import free_port

pytestmark = pytest.mark.integration


@pytest.fixture
def proxy(redis_server: RedisServer, redis_url: str) -> Iterator[Proxy]:
    with Proxy("127.0.0.1", redis_server.port) as proxy:
        yield proxy


@pytest.fixture
def client(proxy: Proxy) -> Iterator[Client]:
    with connect(f"redis://127.0.0.1:{proxy.port}/0", timeout_s=0.5) as client:
        yield client


def test_everything_passes_until_it_is_armed(client: Client, proxy: Proxy) -> None:
    assert call(client, "INCR", "n") == 1
    proxy.arm("cut-before", b"some other request")
    assert call(client, "INCR", "n") == 2
    assert not proxy.struck


@pytest.mark.parametrize(
    ("fault", "value"),
    [("cut-before", b"1"), ("cut-inside", b"1"), ("swallow", b"2"), ("stall", b"2")],
)
def test_what_a_fault_leaves_behind(
    fault: Fault, value: bytes, client: Client, proxy: Proxy, redis_server: RedisServer
) -> None:
    call(client, "INCR", "n")
    proxy.arm(fault, b"INCR")
    with pytest.raises(OutcomeUnknown):
        call(client, "INCR", "n")
    proxy.release()
    assert proxy.struck
    with redis_server.client() as direct:
        assert direct.get("n") == value
    assert call(client, "GET", "n") == value, "it happens once, and the next connection works"


def test_a_connection_cut_after_the_request_may_have_been_in_time(client: Client, proxy: Proxy) -> None:
    proxy.arm("cut-after", b"INCR")
    with pytest.raises(OutcomeUnknown):
        call(client, "INCR", "n")
    assert call(client, "GET", "n") in (None, b"1")


def test_slowly_everything_arrives(client: Client, proxy: Proxy) -> None:
    value = b"x" * 20_000
    proxy.arm("slow", b"SET")
    assert call(client, "SET", "n", value) == b"OK"
    assert proxy.struck and call(client, "GET", "n") == value


def test_what_follows_an_answered_request(client: Client, proxy: Proxy) -> None:
    proxy.arm("swallow", b"INCR", follow_up=True)
    assert call(client, "INCR", "n") == 1
    assert not proxy.struck
    with pytest.raises(OutcomeUnknown):
        call(client, "INCRBY", "n", 10)
    assert proxy.struck and call(client, "GET", "n") == b"11"


def test_a_server_that_is_away_breaks_the_connection() -> None:
    with (
        Proxy("127.0.0.1", free_port()) as proxy,
        connect(f"redis://127.0.0.1:{proxy.port}/0") as client,
        pytest.raises((ServerAway, OutcomeUnknown)),
    ):
        call(client, "PING")


def test_every_fault_is_listed() -> None:
    assert set(FAULTS) == {"cut-before", "cut-inside", "cut-after", "swallow", "stall", "slow"}
