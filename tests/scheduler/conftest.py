"""Fixtures of the scheduler's tests: loops over real servers, kept apart by machine names."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from dataflow.testing.mongo import MongoServer
from tests.scheduler.rig import Rig


@pytest.fixture
def rig(redis_url: str, mongo: MongoServer, tmp_path: Path) -> Iterator[Rig]:
    """Loops over the session's servers."""
    with Rig(redis_url, mongo.url, tmp_path) as rig:
        yield rig
