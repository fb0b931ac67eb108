"""A real chDB for the tests of a module."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from sync.warehouse.chdb import ChdbWarehouse


@pytest.fixture(scope="module")
def warehouse(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ChdbWarehouse]:
    """One embedded warehouse; closed before another module opens its own (a process holds one folder)."""
    with ChdbWarehouse(tmp_path_factory.mktemp("chdb") / "data") as warehouse:
        yield warehouse
