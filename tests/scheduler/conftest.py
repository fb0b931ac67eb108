"""Fixtures of the scheduler's tests: a MongoDB, and loops over it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from dataflow.testing.mongo import MongoServer
from tests.scheduler.rig import Rig


@pytest.fixture(scope="session")
def mongo() -> Iterator[MongoServer]:
    """A MongoDB for the session. Tests keep apart by machine names."""
    with MongoServer() as server:
        yield server


@pytest.fixture
def own_mongo() -> Iterator[MongoServer]:
    """A MongoDB for one test, to be stopped."""
    with MongoServer() as server:
        yield server


@pytest.fixture
def rig(redis_url: str, mongo: MongoServer, tmp_path: Path) -> Iterator[Rig]:
    """Loops over the session's servers."""
    with Rig(redis_url, mongo.url, tmp_path) as rig:
        yield rig
