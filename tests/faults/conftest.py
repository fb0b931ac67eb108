"""`rig`: one flow of real processes for all cells of a file; `scheduled_rig`: one with a scheduler.

`ticking_rig` is that one with its task at work.
"""

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


@pytest.fixture
def ticking_rig(scheduled_rig: Rig) -> Rig:
    """Its task runs, whatever an earlier test has left, and has moved messages."""
    rig = scheduled_rig
    rig.wish("running")
    rig.until("it runs", lambda: rig.state() == "running")
    if not rig.accepted:
        rig.send()
        rig.assert_whole()
    return rig


def _need_clickhouse() -> None:
    if clickhouse_binary() is None and not in_ci():
        pytest.skip(NO_CLICKHOUSE)
