"""A real chDB for the tests of a module, and sinks into tables of it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from sync.warehouse.chdb import ChdbWarehouse
from sync.warehouse.turns import Turns


@pytest.fixture(scope="module")
def warehouse(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ChdbWarehouse]:
    """One embedded warehouse; closed before another module opens its own (a process holds one folder)."""
    with ChdbWarehouse(tmp_path_factory.mktemp("chdb") / "data") as warehouse:
        yield warehouse


@pytest.fixture
def table(warehouse: ChdbWarehouse, request: pytest.FixtureRequest) -> Iterator[str]:
    """The name of a table that does not exist yet, and is dropped after the test. Fences are forgotten too."""
    warehouse.turns = Turns()
    name = f"t{abs(hash(request.node.nodeid))}"
    yield name
    warehouse.execute(f"DROP TABLE IF EXISTS {name} SYNC")


@pytest.fixture
def empty_folder(tmp_path: Path) -> Path:
    """A folder for a warehouse of the test's own."""
    return tmp_path / "own"
