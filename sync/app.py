"""The Celery app. Its messages are hints: an edge's name and a tick. They may come twice, late or never.

    celery -A sync.app:celery_ worker --pool threads        with DATAFLOW_FLOW=/path/of/flow.yml

`dataflow sync` runs it together with the continuous edges. Importing this module reads nothing but the environment;
the flow file is read when Celery asks for its settings.

| variable | meaning | default |
|---|---|---|
| `DATAFLOW_FLOW` | path of the flow file | `flow.yml` |
| `DATAFLOW_BROKER_URL` | Celery's broker and result store | database 1 of the flow's first Redis |
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, TypeVar

from celery import Celery, current_task
from celery.signals import worker_shutting_down

from dataflow.broker import RUN_EDGE, broker_url, queue_of
from sync.notes import EVERY_S, Notes
from sync.room import Room
from sync.servers import home

F = TypeVar("F", bound=Callable[..., Any])

ANSWER_S: Final = 10.0
"""A broker that does not answer for so long is taken for dead; well above Celery's own blocking reads of a second."""
HINT_LIVES_S: Final = 300
"""A hint that nobody took within this time is worth nothing."""

stop: Final = threading.Event()
"""Set when the worker is told to end. Tasks look at it between batches."""


class _Shared:
    """The room of this process: given by `dataflow sync`, else made when it is first needed."""

    def __init__(self) -> None:
        self._room: Room | None = None
        self._lock = threading.Lock()

    def use(self, room: Room) -> None:
        with self._lock:
            self._room = room

    def get(self) -> Room:
        with self._lock:
            if self._room is None:
                self._room = Room(Path(os.environ.get("DATAFLOW_FLOW", "flow.yml")))
            return self._room


_shared: Final = _Shared()


def use(room: Room) -> None:
    """Let the tasks of this process run in this room. Call it before the worker starts."""
    _shared.use(room)


class _Settings:
    """Celery's settings. Those that depend on the flow are looked up when Celery first asks for them."""

    accept_content: Final = ["json"]
    task_serializer: Final = "json"
    result_serializer: Final = "json"
    task_acks_late: Final = True
    task_ignore_result: Final = True
    result_expires: Final = 3600
    worker_pool: Final = "threads"
    worker_prefetch_multiplier: Final = 1
    worker_hijack_root_logger: Final = False
    worker_send_task_events: Final = False
    worker_enable_remote_control: Final = False
    worker_cancel_long_running_tasks_on_connection_loss: Final = False
    broker_connection_retry_on_startup: Final = True
    broker_connection_max_retries: Final = None
    broker_channel_error_retry: Final = True  # a full Redis refuses what Celery writes as it starts
    broker_transport_options: Final = {"socket_timeout": ANSWER_S, "socket_connect_timeout": ANSWER_S}
    redis_socket_timeout: Final = ANSWER_S
    redis_socket_connect_timeout: Final = ANSWER_S

    @property
    def broker_url(self) -> str:
        room = _shared.get()
        return broker_url(_redis_url(room))

    @property
    def result_backend(self) -> str:
        return self.broker_url

    @property
    def task_default_queue(self) -> str:
        return queue_of(_shared.get().flow.name)


def _redis_url(room: Room) -> str:
    return room.resolved.redis[home(room.flow)]


celery_ = Celery("dataflow")
celery_.config_from_object(_Settings())


def _task(name: str) -> Callable[[F], F]:
    """Register a task. What comes out is callable like the function and has Celery's methods beside."""
    register: Callable[[F], F] = celery_.task(name=name, expires=HINT_LIVES_S)
    return register


@_task(RUN_EDGE)
def run_edge(
    edge: str, tick: int | None = None, max_batches: int | None = None, batch: int | None = None
) -> dict[str, Any]:
    """Run an edge now; what a schedule's tick, an operator or a program asks for. Safe to run twice or late.

    Args:
        edge: its name in the flow.
        tick: which tick of the schedule this is (ms since 1970); for the log.
        max_batches: most batches to move; None: until nothing is left.
        batch: most messages of a batch, where the edge itself allows no fewer.

    Returns what `Run` holds. An edge that the flow does not have is reported and forgotten. A run that was asked for
    by HTTP is noted, too, when it begins and when it ends.
    """
    room = _shared.get()
    notes = Notes(room, current_task.request.id, lambda: stop.wait(EVERY_S))
    notes.begin()
    end = room.run_hinted(edge, tick, max_batches=max_batches, batch=batch, stop=stop.is_set)
    notes.end(end)
    return end


@_task("dataflow.s2s")
def s2s(edge: str, tick: int | None = None, max_batches: int | None = None) -> dict[str, Any]:
    """Run an edge of kind s2s; see `run_edge`."""
    return _run_kind("s2s", edge, tick, max_batches)


@_task("dataflow.s2ch")
def s2ch(edge: str, tick: int | None = None, max_batches: int | None = None) -> dict[str, Any]:
    """Run an edge of kind s2ch; see `run_edge`."""
    return _run_kind("s2ch", edge, tick, max_batches)


@_task("dataflow.s2mongo")
def s2mongo(edge: str, tick: int | None = None, max_batches: int | None = None) -> dict[str, Any]:
    """Run an edge of kind s2mongo; see `run_edge`."""
    return _run_kind("s2mongo", edge, tick, max_batches)


@_task("dataflow.mongo2s")
def mongo2s(edge: str, tick: int | None = None, max_batches: int | None = None) -> dict[str, Any]:
    """Run an edge of kind mongo2s; see `run_edge`."""
    return _run_kind("mongo2s", edge, tick, max_batches)


def _run_kind(kind: str, edge: str, tick: int | None, max_batches: int | None) -> dict[str, Any]:
    found = _shared.get().flow.edges.get(edge)
    if found is not None and found.kind != kind:
        return {"state": "unknown-edge", "error": f"edge {edge!r} is of kind {found.kind}, not {kind}"}
    return run_edge(edge, tick, max_batches)


def _set_stop(**_: object) -> None:
    stop.set()


worker_shutting_down.connect(_set_stop)
