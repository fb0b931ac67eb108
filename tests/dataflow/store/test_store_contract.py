"""The double and real servers keep the same promises."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from dataflow.store.redis import connect
from dataflow.testing.servers import RedisServer
from tests.dataflow.store.store_contract import StoreContract
from tests.dataflow.store.stores import MemoryStore, RealStore


class TestMemory(StoreContract):
    """The double."""

    @pytest.fixture
    def store(self) -> MemoryStore:
        store = MemoryStore()
        store.apply()
        return store


@pytest.mark.integration
class TestRedis(StoreContract):
    """Real servers, each version that this machine has."""

    @pytest.fixture
    def store(self, both_redis: RedisServer, both_redis_url: str) -> Iterator[RealStore]:
        client = connect(both_redis_url)
        store = RealStore(client)
        store.apply()
        yield store
        store.relieve()
        client.close()
