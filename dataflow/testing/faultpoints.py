"""Named points in the code at which a process can be made to die or to stand still, just before or just after a step.

Off, they do not exist: the methods are the plain ones. A process that is started with DATAFLOW_FAULTS=<folder> has
the methods of `POINTS` wrapped as it loads its command. A file `<point>.before` or `<point>.after` in the folder, with
`kill` or `stop` in it, then strikes the first process that comes by: it takes the file away, leaves
`<point>.<when>.struck` with its pid in it, and gets SIGKILL or SIGSTOP. `after` is when the step has had its effect
and before the caller hears of it; a step that found nothing to do does not count.
"""

from __future__ import annotations

import functools
import os
import signal
from collections.abc import Callable, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any, Literal

POINTS: Mapping[str, str] = {
    "accept": "message_hub.post:Post.by_route",
    "append": "dataflow.store.door:Door.append",
    "read": "dataflow.store.hop:Hop.read",
    "handle": "workers.loop:Loop.handle",
    "finish": "dataflow.store.hop:Hop.finish",
    "lease": "dataflow.store.lane:Lane.acquire",
    "fetch": "dataflow.store.lane:Lane.read",
    "freeze": "dataflow.store.lane:Lane.freeze",
    "place": "sync.sinks.stream:StreamSink.write",
    "insert": "sync.sinks.clickhouse.sink:ClickHouseSink.write",
    "settle": "dataflow.store.lane:Lane.settle",
    "tick": "scheduler.runs:Runs._claimed",
    "hint": "scheduler.jobs.edge:Hints.send",
    "state": "scheduler.tasks:Tasks.set",
}
"""Point -> the method that is the step. `finish` writes out, acknowledges and deletes: those three are one script."""

When = Literal["before", "after"]
Act = Literal["kill", "stop"]

_SIGNALS: Mapping[str, signal.Signals] = {"kill": signal.SIGKILL, "stop": signal.SIGSTOP}


class Faults:
    """The folder of faults, as a test uses it."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def arm(self, point: str, when: When, act: Act) -> None:
        """Strike the next process that comes to this point."""
        if point not in POINTS:
            raise ValueError(f"there is no fault point {point!r}, but {', '.join(POINTS)}")
        self._struck(point, when).unlink(missing_ok=True)
        draft = self._folder / f"{point}.{when}.draft"
        draft.write_text(act)
        draft.rename(self._folder / f"{point}.{when}")

    def struck(self, point: str, when: When) -> int | None:
        """The pid of the process that was struck, None as long as none was."""
        try:
            return int(self._struck(point, when).read_text() or 0) or None
        except FileNotFoundError:
            return None

    def _struck(self, point: str, when: When) -> Path:
        return self._folder / f"{point}.{when}.struck"


def install(folder: Path, room: str) -> None:
    """Wrap the points of the core and of one room. Call it once, before anything runs."""
    for name, target in POINTS.items():
        if target.partition(".")[0] in ("dataflow", room):
            _wrap(folder, name, target)


def owner_of(target: str) -> tuple[type, str]:
    """The class and the name of a method that is written as module:Class.method. Imports the module."""
    module, _, path = target.partition(":")
    owner, _, method = path.partition(".")
    return getattr(import_module(module), owner), method


def _wrap(folder: Path, name: str, target: str) -> None:
    owner, method = owner_of(target)
    plain: Callable[..., Any] = getattr(owner, method)

    @functools.wraps(plain)
    def faulty(*args: Any, **options: Any) -> Any:
        _strike(folder / f"{name}.before")
        result = plain(*args, **options)
        if _had_effect(result):
            _strike(folder / f"{name}.after")
        return result

    setattr(owner, method, faulty)


def _had_effect(result: object) -> bool:
    if isinstance(result, tuple):
        return any(result)
    return result is None or bool(result)


def _strike(fault: Path) -> None:
    """Do what the file says, if there is one; of several that come by, one takes it."""
    taken = fault.with_name(f"{fault.name}.{os.getpid()}")
    try:
        fault.rename(taken)
    except FileNotFoundError:
        return
    act = taken.read_text()
    taken.write_text(str(os.getpid()))
    taken.rename(fault.with_name(f"{fault.name}.struck"))
    os.kill(os.getpid(), _SIGNALS[act])
