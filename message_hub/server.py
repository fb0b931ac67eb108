"""The hub on gunicorn: threads in a few processes, each with connections of its own.

gunicorn is run as a library, not as its command: the command would put the current folder first on sys.path, where a
user's own folder `sync/` or `workers/` would shadow ours.
"""

from __future__ import annotations

import signal
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gunicorn.app.base import BaseApplication
from gunicorn.glogging import Logger

from dataflow.flow.load import load
from dataflow.process import dies_with_parent
from dataflow.settings import Settings
from message_hub.app import create_app
from message_hub.live_net import LiveNet
from message_hub.net import Net
from message_hub.pulse import Pulse

GRACE_S = 20
"""How long requests in hand may take after SIGTERM."""


class Server(BaseApplication):  # type: ignore[misc]  # gunicorn has no types
    """Serves one flow until SIGTERM (requests in hand are answered first), SIGINT or SIGQUIT (at once).

    Make it in the main thread of the process that runs it: when that ends, however it ends, its children get a SIGTERM.
    (gunicorn's own look at the parent lets them serve kept connections, and hold the port, until the grace is over.)

    Args:
        path: the flow file.
        bind: host:port.
        processes, threads: how many requests can be in hand: processes x threads.
        settings: limits and time-outs.
        keys_required: ask for an API key even while the flow has none.
    """

    def __init__(
        self, path: Path, bind: str, processes: int, threads: int, settings: Settings, *, keys_required: bool
    ) -> None:
        self._path = path
        self._bind = bind
        self._settings = settings
        self._keys_required = keys_required
        self._pulse: Pulse | None = None
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
            "keepalive": 30,
            "logger_class": _Log,
            "proc_name": "dataflow-hub",
        }
        super().__init__()

    def load_config(self) -> None:
        """Called by gunicorn: take our options."""
        for name, value in self._options.items():
            self.cfg.set(name, value)

    def load(self) -> Any:
        """Called by gunicorn in each process: make the application, with connections of its own."""
        live = LiveNet(lambda: Net.of(load(self._path), self._settings.redis_timeout_s))
        self._pulse = Pulse(live, self._bind)
        self._pulse.start()
        return create_app(live, self._settings, keys_required=self._keys_required)

    def _leave(self) -> None:
        if self._pulse is not None:
            self._pulse.stop()


class _Log(Logger):  # type: ignore[misc]  # gunicorn has no types
    """gunicorn's own lines go where all others of the program go."""

    def setup(self, cfg: Any) -> None:
        super().setup(cfg)
        self.error_log.handlers.clear()
        self.error_log.propagate = True
        self.error_log.setLevel("NOTSET")
