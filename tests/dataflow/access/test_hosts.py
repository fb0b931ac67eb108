"""For whom a request was meant, when no key says who sends it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from dataflow.access.gate import ANYBODY, NOBODY, Denied, Gate
from dataflow.access.hosts import Hosts
from dataflow.access.listen import hosts_of
from dataflow.access.ring import add_key
from dataflow.access.scopes import OPEN, needs
from dataflow.settings import read_settings
from dataflow.store.keys import Keys
from dataflow.store.redis import Client, connect

KEYS = Keys("f")

OURS = ["localhost", "LocalHost:24100", "127.0.0.1", "127.0.0.1:24100", "127.3.2.1:80", "[::1]", "[::1]:24100"]
OTHERS = [
    "rebind.example", "rebind.example:24100", "localhost.rebind.example", "127.0.0.1.rebind.example:24100", "10.0.0.7",
    "10.0.0.7:24100", "[fe80::1]:24100", "[::1].example", "localhost:24100:x", "localhost@rebind.example",
    "127.0.0.1,rebind.example", ":24100", " ", "0.0.0.0:24100", "127.0.0.1:", "\u0661:1",
]  # fmt: skip


@pytest.mark.parametrize("header", OURS)
def test_names_of_this_machine(header: str) -> None:
    assert Hosts().known(header)


@pytest.mark.parametrize("header", OTHERS)
def test_other_names(header: str) -> None:
    assert not Hosts().known(header)


def test_further_names_are_those_that_are_told() -> None:
    told = hosts_of(read_settings({"DATAFLOW_HOST_NAMES": "gateway.example, Box ,"}), insecure=False)
    assert told is not None
    assert told.known("Gateway.example:24100") and told.known("box") and told.known("localhost")
    assert not told.known("example") and not told.known("gateway.example.org") and not told.known(":1")
    assert hosts_of(read_settings({}), insecure=True) is None


@pytest.fixture
def redis(redis_url: str) -> Iterator[Client]:
    client = connect(redis_url)
    yield client
    client.close()


@pytest.mark.integration
@pytest.mark.parametrize("header", OTHERS)
def test_without_keys_a_request_for_another_host_is_refused(redis: Client, header: str) -> None:
    gate = Gate(lambda: (redis, KEYS))
    with pytest.raises(Denied) as denied:
        gate.admit({"Host": header}, needs("viewer"))
    assert denied.value.status == 421
    assert all(way in str(denied.value) for way in ("127.0.0.1", "key new", "DATAFLOW_HOST_NAMES", "--insecure"))
    assert gate.admit({"Host": header}, OPEN) == NOBODY, "a probe by address gets its yes or no"


@pytest.mark.integration
def test_without_keys_our_own_names_get_in_and_a_client_that_names_none(redis: Client) -> None:
    gate = Gate(lambda: (redis, KEYS))
    assert all(gate.admit({"Host": header}, needs("admin")) == ANYBODY for header in OURS)
    assert gate.admit({}, needs("admin")) == ANYBODY


@pytest.mark.integration
def test_with_keys_or_where_nobody_asks_the_host_does_not_matter(redis: Client) -> None:
    assert Gate(lambda: (redis, KEYS), hosts=None).admit({"Host": "rebind.example"}, needs("admin")) == ANYBODY
    _, token = add_key(redis, KEYS, "meter", ("produce",))
    caller = Gate(lambda: (redis, KEYS)).admit({"Host": "hub.example", "X-API-Key": token.text}, needs("produce"))
    assert caller.name == "meter"
