"""The double and real servers keep the same promises."""

from __future__ import annotations

import pytest

from tests.dataflow.store.store_contract import StoreContract
from tests.dataflow.store.stores import MemoryStore


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
