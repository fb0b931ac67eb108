"""The store that many tests here begin with; and the modules of shared tests, whose asserts pytest shall explain."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

pytest.register_assert_rewrite("tests.dataflow.store.stores", "tests.dataflow.store.store_contract")

from dataflow.store.redis import connect  # noqa: E402 - after the line above
from tests.dataflow.store.stores import RealStore  # noqa: E402


@pytest.fixture
def store(both_redis_url: str) -> Iterator[RealStore]:
    """A flow applied to an empty Redis: that of this machine, and the embedded one."""
    client = connect(both_redis_url)
    store = RealStore(client)
    store.apply()
    yield store
    store.relieve()
    client.close()
