"""Where a service may listen."""

from __future__ import annotations

from pathlib import Path

import pytest

from dataflow.access.listen import NoKeys, is_loopback, keys_required
from dataflow.access.ring import add_key, revoke
from dataflow.flow.load import loads
from dataflow.flow.spec import Flow
from dataflow.settings import read_settings
from dataflow.store.keys import Keys
from dataflow.store.redis import connect

SETTINGS = read_settings({})


def flow(redis_url: str) -> Flow:
    servers = f"connections: {{main: {{redis: '{redis_url}'}}}}"
    return loads(f"flow: f\n{servers}\nstreams: {{a.stream_in: {{keep: {{messages: 9}}}}}}")


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.9.1", "::1", "[::1]", "localhost"])
def test_loopback(host: str) -> None:
    assert is_loopback(host)


@pytest.mark.parametrize(
    "host", ["", "0.0.0.0", "::", "10.0.0.1", "example.org", "localhost.example.org", "::ffff:8.8.8.8"]
)
def test_elsewhere(host: str) -> None:
    assert not is_loopback(host)


@pytest.mark.integration
def test_elsewhere_without_keys_is_refused_with_every_way_out(redis_url: str) -> None:
    with pytest.raises(NoKeys) as refused:
        keys_required(flow(redis_url), "0.0.0.0", SETTINGS, insecure=False)
    for way in ("dataflow key new", "--insecure", "DATAFLOW_INSECURE", "127.0.0.1"):
        assert way in str(refused.value)


@pytest.mark.integration
def test_elsewhere_with_keys_even_revoked_ones_asks_for_them(redis_url: str) -> None:
    redis = connect(redis_url)
    made, _ = add_key(redis, Keys("f"), "meter", ("produce",))
    assert keys_required(flow(redis_url), "0.0.0.0", SETTINGS, insecure=False)
    revoke(redis, Keys("f"), made.id)
    assert keys_required(flow(redis_url), "0.0.0.0", SETTINGS, insecure=False)
    redis.close()


def test_while_redis_is_away_nobody_is_let_in() -> None:
    assert keys_required(flow("redis://127.0.0.1:1/0"), "0.0.0.0", SETTINGS, insecure=False)


def test_loopback_and_insecure_ask_for_keys_only_when_told_to() -> None:
    nowhere = flow("redis://127.0.0.1:1/0")
    told = read_settings({"DATAFLOW_REQUIRE_KEYS": "1"})
    assert not keys_required(nowhere, "127.0.0.1", SETTINGS, insecure=False)
    assert not keys_required(nowhere, "0.0.0.0", SETTINGS, insecure=True)
    assert keys_required(nowhere, "127.0.0.1", told, insecure=False)
    assert keys_required(nowhere, "0.0.0.0", told, insecure=True)


def test_the_own_key_is_read_from_the_environment_or_a_file(tmp_path: Path) -> None:
    from dataflow.access.key import mint
    from dataflow.access.own import own_key
    from dataflow.errors import UserError

    token = mint().text
    (tmp_path / "key").write_text(token + "\n")
    assert own_key({}) is None
    assert own_key({"DATAFLOW_API_KEY": token}) == own_key({"DATAFLOW_API_KEY_FILE": str(tmp_path / "key")}) == token
    with pytest.raises(UserError) as wrong:
        own_key({"DATAFLOW_API_KEY": "hunter2"})
    assert "hunter2" not in str(wrong.value)
    with pytest.raises(UserError, match="cannot be read"):
        own_key({"DATAFLOW_API_KEY_FILE": str(tmp_path / "none")})
