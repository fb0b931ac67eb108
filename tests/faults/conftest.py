"""`rig`: one flow of real processes for all cells of a file; `scheduled_rig`: one with a scheduler."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from dataflow.testing.servers import NO_CLICKHOUSE, clickhouse_binary, in_ci
from tests.faults.rig import Rig


@pytest.fixture(scope="module")
def rig(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    """Everything up, and down again at the end."""
    _need_clickhouse()
    with Rig(tmp_path_factory.mktemp("rig")) as rig:
        yield rig


@pytest.fixture(scope="module")
def scheduled_rig(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    """Everything up, the scheduler included."""
    _need_clickhouse()
    with Rig(tmp_path_factory.mktemp("rig"), scheduled=True) as rig:
        yield rig


def _need_clickhouse() -> None:
    if clickhouse_binary() is None and not in_ci():
        pytest.skip(NO_CLICKHOUSE)
