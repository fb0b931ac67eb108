"""The sync room's API on gunicorn: threads in a few processes, each with connections of its own.

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
from sync.api.host import Host

GRACE_S: Final = 5
"""How long requests in hand may take after SIGTERM; one that waits for a result can be sent again."""


class Server(BaseApplication):  # type: ignore[misc]  # gunicorn has no types
    """Serves the API of one flow until SIGTERM.

    Make it in the main thread of the process that runs it: when that ends, however it ends, its children get a SIGTERM.

    Args:
        path: the flow file.
        bind: host:port.
        processes, threads: how many requests can be in hand: processes x threads. Half of the threads may wait for
            results; the others always answer at once.
        keys_required: ask for an API key even while the flow has none.
    """

    def __init__(self, path: Path, bind: str, processes: int, threads: int, *, keys_required: bool) -> None:
        self._path = path
        self._keys_required = keys_required
        self._waiters = max(1, threads // 2)
        self._host: Host | None = None
        end_with_parent = dies_with_parent(signal.SIGTERM)
        self._options: Mapping[str, Any] = {
            "bind": bind,
            "workers": processes,
            "threads": threads,
            "worker_class": "gthread",
            "post_worker_init": lambda worker: end_with_parent(),
            "worker_exit": lambda server, worker: self._leave(),
            "control_socket_disable": True,
            "graceful_timeout": GRACE_S,
            "logger_class": _Log,
            "proc_name": "dataflow-sync-api",
        }
        super().__init__()

    def load_config(self) -> None:
        """Called by gunicorn: take our options."""
        for name, value in self._options.items():
            self.cfg.set(name, value)

    def load(self) -> Any:
        """Called by gunicorn in each process: make the application, with connections of its own."""
        self._host = Host(self._path, self._waiters, keys_required=self._keys_required)
        return self._host.app

    def _leave(self) -> None:
        if self._host is not None:
            self._host.close()


class _Log(Logger):  # type: ignore[misc]  # gunicorn has no types
    """gunicorn's own lines go where all others of the program go."""

    def setup(self, cfg: Any) -> None:
        super().setup(cfg)
        self.error_log.handlers.clear()
        self.error_log.propagate = True
        self.error_log.setLevel("NOTSET")
