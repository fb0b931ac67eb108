"""Constant load on a hub."""

from __future__ import annotations

import threading
from collections.abc import Callable

from dataflow.client import Hub
from dataflow.errors import DataflowError
from tests.acceptance.project import eventually


class Load:
    """Sends messages without pause, and remembers which were accepted.

    Args:
        hub: gives the hub's address; asked before each request.
    """

    def __init__(self, hub: Callable[[], str]) -> None:
        self._hub = hub
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._send)
        self.accepted: set[str] = set()
        self.problem: DataflowError | None = None

    def __enter__(self) -> Load:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def wait_for(self, more: int, after: str) -> None:
        """Wait until so many more are accepted."""
        before = len(self.accepted)
        eventually(f"messages accepted after {after}", lambda: len(self.accepted) >= before + more)

    def _send(self) -> None:
        sent = 0
        while not self._stop.wait(0.02):
            messages = [
                {"rec_id": f"r{n}", "task_for": "t", "function_type": "f", "n": n} for n in range(sent, sent + 20)
            ]
            try:
                with Hub(self._hub(), timeout_s=5, patience_s=60) as hub:
                    hub.send(messages)
            except DataflowError as problem:
                self.problem = problem
                return
            self.accepted.update(message["rec_id"] for message in messages)  # type: ignore[misc]
            sent += 20
