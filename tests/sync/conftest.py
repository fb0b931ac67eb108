"""Tables on the real clickhouse-server."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing

import pytest

from dataflow.clickhouse.address import ServerAddress
from dataflow.clickhouse.link import Link
from dataflow.testing.servers import ClickHouseServer


@pytest.fixture
def server_table(clickhouse: ClickHouseServer, request: pytest.FixtureRequest) -> Iterator[str]:
    """The name of a table that does not exist yet on the clickhouse-server, and is dropped after the test."""
    name = f"t{abs(hash(request.node.nodeid))}"
    yield name
    with closing(Link(ServerAddress.read(clickhouse.url))) as link:
        link.change(f"DROP TABLE IF EXISTS {name}")
