"""The scheduler on gunicorn: one process with threads, for there is one loop.

gunicorn is run as a library, not as its command: the command would put the current folder first on sys.path, where a
user's own folder `sync/` or `workers/` would shadow ours.
"""

from __future__ import annotations

import signal
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from gunicorn.app.base import BaseApplication
from gunicorn.glogging import Logger

from dataflow.process import dies_with_parent
from scheduler.host import Host

GRACE_S: Final = 20


class Server(BaseApplication):  # type: ignore[misc]  # gunicorn has no types
    """Schedules one flow and serves the API until SIGTERM.

    Make it in the main thread of the process that runs it: when that ends, however it ends, its child gets a SIGTERM.

    Args:
        path: the flow file.
        bind: host:port.
        threads: requests that can be in hand.
        keys_required: ask for an API key even while the flow has none.
    """

    def __init__(self, path: Path, bind: str, threads: int, *, keys_required: bool) -> None:
        self._path = path
        self._keys_required = keys_required
        self._host: Host | None = None
        end_with_parent = dies_with_parent(signal.SIGTERM)
        self._options: Mapping[str, Any] = {
            "bind": bind,
            "workers": 1,
            "threads": threads,
            "worker_class": "gthread",
            "post_worker_init": lambda worker: end_with_parent(),
            "worker_exit": lambda server, worker: self._leave(),
            "control_socket_disable": True,
            "graceful_timeout": GRACE_S,
            "logger_class": _Log,
            "proc_name": "dataflow-scheduler",
        }
        super().__init__()

    def load_config(self) -> None:
        """Called by gunicorn: take our options."""
        for name, value in self._options.items():
            self.cfg.set(name, value)

    def load(self) -> Any:
        """Called by gunicorn in the worker process: begin to schedule, and make the application."""
        self._host = Host(self._path, keys_required=self._keys_required)
        self._host.start()
        return self._host.app

    def _leave(self) -> None:
        if self._host is not None:
            self._host.stop()


class _Log(Logger):  # type: ignore[misc]  # gunicorn has no types
    """gunicorn's own lines go where all others of the program go."""

    def setup(self, cfg: Any) -> None:
        super().setup(cfg)
        self.error_log.handlers.clear()
        self.error_log.propagate = True
        self.error_log.setLevel("NOTSET")
