"""Loops on real servers, with hints that go nowhere and a clock that can be set."""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from flask import Flask

from dataflow.access.gate import Gate
from dataflow.flow.load import load
from dataflow.flow.spec import Flow
from dataflow.store.keys import Keys
from dataflow.store.leadership import Leadership
from dataflow.store.redis import connect
from scheduler import tasks as documents
from scheduler.api.app import create_app
from scheduler.changes import Changes
from scheduler.jobs.edge import Hints
from scheduler.jobs.kinds import Jobs
from scheduler.live_flow import LiveFlow
from scheduler.loop import Loop
from scheduler.record import Outcome
from scheduler.tasks import Tasks

FLOW = """
flow: f
connections:
  main: {{redis: "{redis}"}}
  docs: {{mongo: "{mongo}"}}
streams:
  a.stream_in:
  b.stream_in:
workers:
  w: {{from: b.stream_in, handler: "m:f"}}
edges:
  move: {{kind: s2s, from: a.stream_in, to: b.stream_in{task}}}
scheduler: {{machine: {machine}, timezone: UTC}}
"""


class FakeHints(Hints):
    """Notes hints instead of sending them; the test says what becomes of each."""

    def __init__(self) -> None:
        self.sent: list[tuple[str, int]] = []
        self.ids: list[str] = []
        self.answers: dict[str, Outcome] = {}
        self.answer: Outcome | None = Outcome("empty", facts={"read": 0})
        self._lock = threading.Lock()

    def send(self, edge: str, tick: int, hint: str) -> None:
        """Note a hint."""
        with self._lock:
            self.sent.append((edge, tick))
            self.ids.append(hint)
            if self.answer is not None:
                self.answers[hint] = self.answer

    def outcome(self, hint: str) -> Outcome | None:
        """What the test said."""
        return self.answers.get(hint)

    @property
    def ticks(self) -> list[int]:
        """The ticks that were sent."""
        return [tick for _, tick in self.sent]


class Clock:
    """The time, and how far the clock is off."""

    def __init__(self) -> None:
        self.off_s = 0.0

    def __call__(self) -> float:
        return time.time() + self.off_s


class Rig:
    """Makes loops for one machine, and ends them."""

    def __init__(self, redis_url: str, mongo_url: str, folder: Path) -> None:
        self.redis_url, self.mongo_url = redis_url, mongo_url
        self.machine = f"m{secrets.token_hex(4)}"
        self.path = folder / "flow.yml"
        self.write("external")
        documents.connect(mongo_url)
        self.tasks = Tasks(self.machine)
        self.hints = FakeHints()
        self.clock = Clock()
        self._loops: list[Loop] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for loop in self._loops:
            loop.stop()

    @property
    def flow(self) -> Flow:
        """The flow file as it is now."""
        return load(self.path)

    def write(self, task: str) -> None:
        """Write the flow file with this schedule of its edge; "" for none."""
        self.path.write_text(
            FLOW.format(
                redis=self.redis_url, mongo=self.mongo_url, task=task and f", task: {task}", machine=self.machine
            )
        )

    def loop(self, lease_s: float = 10.0) -> Loop:
        """A new loop, started, that has not turned yet."""
        return self._made(lease_s)[0]

    @property
    def gate(self) -> Gate:
        """What lets callers of the API in."""
        redis = connect(self.redis_url)
        return Gate(lambda: (redis, Keys("f")))

    def app(self) -> tuple[Loop, Flask]:
        """A new loop, and its API."""
        loop, jobs, flow = self._made(10.0)
        return loop, create_app(loop, Tasks(self.machine), jobs, lambda: flow.current, self.gate)

    def _made(self, lease_s: float) -> tuple[Loop, Jobs, LiveFlow]:
        redis = connect(self.redis_url)
        flow = LiveFlow(self.path, self.flow, redis)
        jobs = Jobs(lambda: flow.current, self.hints)
        leadership = Leadership(redis, Keys("f"), self.machine, lease_s)
        changes = Changes(redis, Keys("f"), self.machine)
        loop = Loop(flow, Tasks(self.machine), leadership, jobs, self.hints, changes, self.clock)
        loop.start()
        self._loops.append(loop)
        return loop, jobs, flow

    def insert(self, task_id: str = "t", **fields: Any) -> str:
        """Insert a document as a person would, with plain pymongo. Returns its pid."""
        pid = f"{self.machine}.{task_id}"
        self.insert_as({"_id": pid}, task_id, **fields)
        return pid

    def insert_as(self, head: dict[str, Any], task_id: str, **fields: Any) -> Any:
        """Insert a document with this `_id`, or with none ({}), which MongoDB gives one then. Returns the `_id`."""
        import pymongo

        document = {
            **head, "machine": self.machine, "task_id": task_id, "job_name": "s2s", "set_to_status": "running",
            "interval_para": {"second": "*"}, "task_kwargs": {"edge": "move"}, **fields,
        }  # fmt: skip
        with pymongo.MongoClient[dict[str, Any]](self.mongo_url) as client:
            return client["flask_aps"]["task_table"].insert_one(document).inserted_id

    def set(self, pid: Any, **fields: Any) -> None:
        """Set fields of a document as a person would."""
        import pymongo

        with pymongo.MongoClient[dict[str, Any]](self.mongo_url) as client:
            client["flask_aps"]["task_table"].update_one({"_id": pid}, {"$set": fields})

    def delete(self, pid: Any) -> None:
        """Delete a document."""
        import pymongo

        with pymongo.MongoClient[dict[str, Any]](self.mongo_url) as client:
            client["flask_aps"]["task_table"].delete_one({"_id": pid})

    def document(self, task_id: str = "t") -> dict[str, Any]:
        """A document as it stands."""
        found = self.tasks.find(task_id)
        assert found is not None
        return found

    def said(self, task_id: str = "t") -> object:
        """Its running_status."""
        return self.document(task_id).get("running_status")


def eventually(what: str, holds: Callable[[], bool], timeout_s: float = 15.0) -> None:
    """Wait until something holds; fail with its name if it does not."""
    deadline = time.monotonic() + timeout_s
    while not holds():
        assert time.monotonic() < deadline, f"not within {timeout_s} s: {what}"
        time.sleep(0.02)
