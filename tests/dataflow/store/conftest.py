"""The store that most tests here begin with."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from dataflow.store.redis import connect
from tests.dataflow.store.stores import RealStore


@pytest.fixture
def store(both_redis_url: str) -> Iterator[RealStore]:
    """A flow applied to an empty Redis: that of this machine, and the embedded one."""
    client = connect(both_redis_url)
    store = RealStore(client)
    store.apply()
    yield store
    store.relieve()
    client.close()
