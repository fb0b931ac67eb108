"""The double and real servers keep the same promises."""

from __future__ import annotations

import pytest

from tests.dataflow.store.store_contract import (
    DeletionContract,
    HopContract,
    MemoryLimitContract,
    OwnershipContract,
    StoreContract,
)
from tests.dataflow.store.stores import ApartHop, MemoryStore, RealStore


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


@pytest.mark.integration
class TestApart(HopContract, OwnershipContract, DeletionContract, MemoryLimitContract):
    """The same, where everything is read apart."""

    @pytest.fixture
    def store(self, store: RealStore) -> RealStore:
        store.kind = ApartHop
        return store
