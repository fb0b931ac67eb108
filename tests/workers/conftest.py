"""A rig on every version of Redis that this machine has; its books are checked after each test."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.workers.project import Project
from tests.workers.rig import Rig
from workers import fate, intake


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Back-off and idle reads in milliseconds."""
    monkeypatch.setattr(fate, "FIRST_BACKOFF_S", 0.01)
    monkeypatch.setattr(intake, "BLOCK_MS", 10)
    monkeypatch.setattr(intake, "TAKE_OVER_EVERY_S", 0.05)


@pytest.fixture
def make_rig(both_redis_url: str, quick: None) -> Iterator[Callable[..., Rig]]:
    """Makes rigs; see Rig for the arguments."""
    rigs: list[Rig] = []

    def make(**arguments: Any) -> Rig:
        rigs.append(Rig(both_redis_url, **arguments))
        return rigs[-1]

    yield make
    for rig in rigs:
        rig.check()
        rig.close()


@pytest.fixture
def rig(make_rig: Callable[..., Rig]) -> Rig:
    """A worker with two targets."""
    return make_rig()


@pytest.fixture
def straight(make_rig: Callable[..., Rig]) -> Rig:
    """A worker with one target, so that messages keep their ids."""
    return make_rig(to=["out.stream_out"])


@pytest.fixture
def project(tmp_path: Path, redis_url: str) -> Iterator[Callable[..., Project]]:
    """Makes a project from the source of its handlers; see Rig for further arguments. Its books are checked."""
    made: list[Project] = []

    def make(source: str, url: str = redis_url, **rig: Any) -> Project:
        made.append(Project(tmp_path, url, source, **rig))
        return made[-1]

    yield make
    for one in made:
        one.close()
