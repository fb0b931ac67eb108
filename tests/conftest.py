"""Fixtures of the whole suite: real servers.

`redis_url`       a flushed database on the preferred redis-server, shared by the session
`redis_server`    the server behind it; tests that stop or fill a server take `own_redis`
`own_redis`       a server for this test alone: kill it, fill it, freeze it
`both_redis`      a session's server for each version on this machine; the test runs once per version
`both_redis_url`  a flushed database on it
`clickhouse`      a clickhouse-server for the session; tests drop what they make
`own_clickhouse`  one for this test alone
`mongo`           a MongoDB-wire server for the session; tests take databases or collections of their own
`own_mongo`       one for this test alone, to be killed

Every server from Redis 7 on has the users of deploy/redis/users.acl, and what a test runs logs in as one of them: see
tests/redis_users. `--no-redis-users` turns it off.

A machine without clickhouse-server leaves those tests out and says so; with CI=true they fail.
"""

from __future__ import annotations

from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import pytest
from hypothesis import settings

from dataflow.testing.mongo import MongoServer
from dataflow.testing.servers import NO_CLICKHOUSE, ClickHouseServer, RedisServer, clickhouse_binary, in_ci
from dataflow.up import redis_server as program
from tests.redis_users.plugin import Suite

# How long an example takes says more about the machine than about the code.
settings.register_profile("unhurried", deadline=None)
settings.load_profile("unhurried")


def _name(binary: Path) -> str:
    return "redis-" + ".".join(map(str, program.version(binary)))


_SUITE = pytest.StashKey[Suite]()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Let a failing test be tried without users."""
    parser.addoption("--no-redis-users", action="store_true", help="let everybody do anything in Redis")


def pytest_configure(config: pytest.Config) -> None:
    """Make the users before any server is started, in each process that runs tests: xdist's first one runs none."""
    distributes = config.getoption("numprocesses", None) and not hasattr(config, "workerinput")
    if not distributes and not config.getoption("--no-redis-users"):
        suite = config.stash[_SUITE] = Suite()
        suite.start()
        config.add_cleanup(suite.close)


@pytest.fixture(scope="session")
def redis_users(pytestconfig: pytest.Config) -> Suite | None:
    """The users of the suite; None if it runs without."""
    return pytestconfig.stash.get(_SUITE, None)


@pytest.fixture(autouse=True)
def nothing_is_refused(redis_users: Suite | None) -> Iterator[None]:
    """Fail a test in which Redis has refused something to a role of the flow."""
    yield
    refusals = redis_users.refusals() if redis_users else []
    assert not refusals, f"Redis refused what deploy/redis/users.acl does not let the role do: {refusals}"


def pytest_report_header() -> list[str]:
    """Say which servers the tests use."""
    servers = [f"{_name(binary)} ({binary})" for binary in program.binaries()]
    try:
        chdb = version("chdb")
    except PackageNotFoundError:
        chdb = "missing: install the extra `embedded`"
    clickhouse = clickhouse_binary() or NO_CLICKHOUSE
    return [
        f"redis-server: {', '.join(servers) or 'none found'}",
        f"chDB: {chdb}",
        f"clickhouse-server: {clickhouse}",
    ]


@pytest.fixture(scope="session")
def redis_server() -> Iterator[RedisServer]:
    """One real redis-server for the session."""
    with RedisServer() as server:
        yield server


@pytest.fixture
def redis_url(redis_server: RedisServer) -> str:
    """Address of an empty database. Whatever an earlier test left is gone."""
    _flush(redis_server)
    return redis_server.url


@pytest.fixture
def own_redis() -> Iterator[RedisServer]:
    """A real redis-server for one test, to be killed, filled or frozen."""
    with RedisServer() as server:
        yield server


@pytest.fixture(scope="session", params=program.binaries(), ids=_name)
def both_redis(request: pytest.FixtureRequest) -> Iterator[RedisServer]:
    """A real redis-server of each version that this machine has."""
    with RedisServer(request.param) as server:
        yield server


@pytest.fixture
def both_redis_url(both_redis: RedisServer) -> str:
    """Address of an empty database on each version."""
    _flush(both_redis)
    return both_redis.url


@pytest.fixture(scope="session")
def clickhouse() -> Iterator[ClickHouseServer]:
    """One real clickhouse-server for the session."""
    _need_clickhouse()
    with ClickHouseServer() as server:
        yield server


@pytest.fixture
def own_clickhouse() -> Iterator[ClickHouseServer]:
    """A real clickhouse-server for one test, to be killed or frozen."""
    _need_clickhouse()
    with ClickHouseServer() as server:
        yield server


@pytest.fixture(scope="session")
def mongo() -> Iterator[MongoServer]:
    """One real MongoDB-wire server for the session."""
    with MongoServer() as server:
        yield server


@pytest.fixture
def own_mongo() -> Iterator[MongoServer]:
    """A real MongoDB-wire server for one test, to be killed."""
    with MongoServer() as server:
        yield server


def _need_clickhouse() -> None:
    if clickhouse_binary() is None and not in_ci():
        pytest.skip(NO_CLICKHOUSE)


def _flush(server: RedisServer) -> None:
    client = server.client()
    client.flushall()
    client.close()
