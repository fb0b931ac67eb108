"""The hub on gunicorn: threads in a few processes, each with connections of its own."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gunicorn.app.base import BaseApplication

from dataflow.flow.load import load
from dataflow.settings import Settings
from message_hub.app import create_app
from message_hub.live_net import LiveNet
from message_hub.net import Net

log = logging.getLogger("dataflow.hub")


class Server(BaseApplication):  # type: ignore[misc]  # gunicorn has no types
    """Serves one flow until SIGTERM (requests in hand are answered first) or SIGQUIT (at once).

    Args:
        path: the flow file.
        bind: host:port.
        processes, threads: how many requests can be in hand: processes x threads.
    """

    def __init__(self, path: Path, bind: str, processes: int, threads: int, settings: Settings) -> None:
        self._path = path
        self._settings = settings
        self._options: Mapping[str, Any] = {
            "bind": bind,
            "workers": processes,
            "threads": threads,
            "worker_class": "gthread",
            "control_socket_disable": True,
            "graceful_timeout": 20,
            "timeout": 60,
            "keepalive": 30,
            "proc_name": "dataflow-hub",
            "loglevel": settings.log_level,
            "chdir": str(path.parent),
        }
        super().__init__()

    def load_config(self) -> None:
        """Called by gunicorn: take our options."""
        for name, value in self._options.items():
            self.cfg.set(name, value)

    def load(self) -> Any:
        """Called by gunicorn in each process: make the application, with connections of its own."""
        live = LiveNet(lambda: Net.of(load(self._path), self._settings.redis_timeout_s))
        return create_app(live, self._settings)
