"""That the suite runs with the users that are shipped: who asks is told apart, and a refusal fails the test."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from redis.exceptions import NoPermissionError, ResponseError

from dataflow.errors import NotDeclared
from dataflow.store.door import Door, Outgoing
from dataflow.store.keys import Keys
from dataflow.store.redis import call, connect
from dataflow.testing.servers import RedisServer
from tests.redis_users.plugin import ANYBODY, NEW_USERS, Suite, of_every_flow
from tests.redis_users.roles import ROOT, role_of_command

FLOW = """
flow: seen
connections:
  main: {{redis: "{url}"}}
streams:
  a.stream_in:
workers:
  w: {{from: a.stream_in, handler: "m:f"}}
"""


@pytest.fixture
def suite_users(redis_users: Suite | None, own_redis: RedisServer) -> Suite:
    """The users of this run."""
    if redis_users is None or own_redis.version < (7,):
        pytest.skip("this run has no users: --no-redis-users, or a Redis before 7")
    return redis_users


def asked_by(place: str) -> Callable[..., Any]:
    """`call`, as if from a file of this checkout."""
    source = compile("def ask(client, *command): return call(client, *command)", str(ROOT / place), "exec")
    names: dict[str, Any] = {"call": call}
    exec(source, names)
    ask: Callable[..., Any] = names["ask"]
    return ask


def users(server: RedisServer) -> set[str]:
    """Who is logged in."""
    with server.client() as client:
        return {str(found["user"]) for found in client.client_list()}


@pytest.mark.integration
@pytest.mark.parametrize(
    ("place", "role"),
    [
        ("message_hub/net.py", "hub"),
        ("workers/child.py", "worker"),
        ("sync/host.py", "sync"),
        ("sync/api/host.py", "sync-api"),
        ("scheduler/host.py", "scheduler"),
        ("dataflow/cli/status.py", "viewer"),
        ("dataflow/cli/apply.py", "operator"),
    ],
)
def test_a_room_asks_as_the_user_of_its_role(place: str, role: str, suite_users: Suite, own_redis: RedisServer) -> None:
    with closing(connect(own_redis.url)) as client:
        assert asked_by(place)(client, "PING") == b"PONG"
        assert users(own_redis) == {"default", f"suite.{role}"}
        call(client, "SET", "anything", "a test may do anything")
        with pytest.raises((NoPermissionError, ResponseError)):
            asked_by(place)(client, "FLUSHALL")
        assert call(client, "EXISTS", "anything") == 1
    (refused,) = suite_users.refusals()
    assert refused.startswith(f"{role}: ") and "flushall" in refused


@pytest.mark.integration
def test_what_a_script_is_refused_inside_is_noticed_too(suite_users: Suite, own_redis: RedisServer) -> None:
    with closing(connect(own_redis.url)) as client, pytest.raises(ResponseError):
        asked_by("message_hub/net.py")(client, "EVAL", "redis.call('DEL', KEYS[1])", 1, "{f}:a.stream_in")
    assert [refused.split(":")[0] for refused in suite_users.refusals()] == ["hub"]


@pytest.mark.integration
def test_a_command_in_a_process_of_its_own_is_its_role(
    suite_users: Suite, own_redis: RedisServer, tmp_path: Path
) -> None:
    (tmp_path / "flow.yml").write_text(FLOW.format(url=own_redis.url))
    command = [sys.executable, "-P", "-m", "dataflow"]
    applied = subprocess.run([*command, "apply"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert applied.returncode == 0 and suite_users.refusals() == [], applied.stderr
    with own_redis.client() as client:
        client.execute_command("ACL", "SETUSER", "suite.viewer", "-@all")
    looked = subprocess.run([*command, "status"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert looked.returncode != 0
    assert {refused.split(":")[0] for refused in suite_users.refusals()} == {"viewer"}


@pytest.mark.integration
def test_an_address_with_a_user_keeps_it(suite_users: Suite, own_redis: RedisServer) -> None:
    with own_redis.client() as admin:
        admin.execute_command("ACL", "SETUSER", "mine", "on", ">word", "~*", "+@all")
    with closing(connect(own_redis.url.replace("://", "://mine:word@"))) as client:
        asked_by("workers/child.py")(client, "PING")
        assert users(own_redis) == {"default", "mine"}


@pytest.mark.integration
def test_a_store_that_a_test_uses_has_the_role_of_who_uses_it_else(suite_users: Suite, own_redis: RedisServer) -> None:
    with closing(connect(own_redis.url)) as client:
        with pytest.raises(NotDeclared):
            Door(client, Keys("seen")).append([Outgoing("a.stream_in", [b"a", b"1"])])
        assert users(own_redis) == {"default", "suite.hub"}


@pytest.mark.parametrize(
    ("command", "role"),
    [
        (["python", "-P", "-m", "dataflow", "hub", "flow.yml"], "hub"),
        (["/usr/bin/dataflow", "worker", "flow.yml", "w"], "worker"),
        (["dataflow", "sync-api"], "sync-api"),
        (["dataflow", "apply"], "operator"),
        (["dataflow", "key", "new", "x"], "operator"),
        (["dataflow", "key", "ls"], "viewer"),
        (["dataflow", "audit"], "viewer"),
        (["dataflow", "audit", "--rebase"], "operator"),
        (["dataflow"], "operator"),
        (["python", "-m", "tests.sync.victim"], None),
        (["python", "steps.py"], None),
    ],
)
def test_the_role_of_a_process(command: Sequence[str], role: str | None) -> None:
    assert role_of_command(command) == role


def test_the_users_are_those_that_are_shipped_but_of_every_flow(tmp_path: Path) -> None:
    subprocess.run([NEW_USERS, "suite", tmp_path / "users"], check=True, capture_output=True)
    shipped = (tmp_path / "users" / "users.acl").read_text().splitlines()
    anybody, *roles = of_every_flow("\n".join(shipped)).splitlines()
    assert (shipped[0], anybody) == ("user default off", ANYBODY)
    assert [line.replace("{*}", "{suite}").replace("dataflow.*", "dataflow.suite") for line in roles] == shipped[1:]
