"""An HTTP service on gunicorn: threads in a few processes, each with connections of its own.

gunicorn is run as a library, not as its command: the command would put the current folder first on sys.path, where a
user's own folder `sync/` or `workers/` would shadow ours.
"""

from __future__ import annotations

import signal
from collections.abc import Callable
from typing import Any, Final, Protocol

from flask import Flask
from gunicorn.app.base import BaseApplication
from gunicorn.glogging import Logger

from dataflow.process import collect_seldom, dies_with_parent
from dataflow.web.patience import PatientWorker

GRACE_S: Final = 20
"""How long requests in hand may take after SIGTERM."""
KEEPALIVE_S: Final = 30


def place(host: str, port: int) -> str:
    """host:port, an IPv6 address in the brackets that tell its colons from the port's. Pure."""
    return f"[{host}]:{port}" if ":" in host and not host.startswith("[") else f"{host}:{port}"


class Service(Protocol):
    """What one process serves, and all that this takes: connections, threads."""

    @property
    def app(self) -> Flask:
        """The application."""

    def close(self) -> None:
        """End in good order. Blocks."""


class Server(BaseApplication):  # type: ignore[misc]  # gunicorn has no types
    """Serves until SIGTERM (requests in hand are answered first), SIGINT or SIGQUIT (at once). `run()` begins it.

    Make it in the main thread of the process that runs it: when that ends, however it ends, its children get a SIGTERM.
    (gunicorn's own look at the parent lets them serve kept connections, and hold the port, until the grace is over.)

    Args:
        name: of the processes, `dataflow-<name>`.
        bind: host:port, as `place` writes it.
        start: called in each process, after the last fork; what it raises ends the server.
        processes, threads: how many requests can be in hand: processes x threads.
        grace_s: how long requests in hand may take after SIGTERM.
    """

    def __init__(
        self,
        name: str,
        bind: str,
        start: Callable[[], Service],
        *,
        processes: int,
        threads: int,
        grace_s: int = GRACE_S,
    ) -> None:
        self._start = start
        self._service: Service | None = None
        self._end_with_parent = dies_with_parent(signal.SIGTERM)
        self._options: dict[str, Any] = {
            "bind": bind,
            "workers": processes,
            "threads": threads,
            "worker_class": PatientWorker,
            "post_worker_init": lambda worker: self._begin(worker.cfg),
            "worker_exit": lambda server, worker: self._leave(),
            "control_socket_disable": True,
            "secure_scheme_headers": {},
            "forwarded_allow_ips": "*",  # who may say what the two next to this name: nothing; a look costs 10 µs
            "sendfile": False,  # it would pass by what WholeAnswers keeps
            "forwarder_headers": "",  # else a client on this machine says by SCRIPT_NAME where our addresses begin
            "graceful_timeout": grace_s,
            "keepalive": KEEPALIVE_S,
            "logger_class": _Log,
            "proc_name": f"dataflow-{name}",
        }
        super().__init__()

    def load_config(self) -> None:
        """Called by gunicorn: take our options."""
        for name, value in self._options.items():
            self.cfg.set(name, value)

    def load(self) -> Flask:
        """Called by gunicorn in each process: begin, and make the application."""
        self._service = self._start()
        app = self._service.app
        collect_seldom()
        return app

    def _begin(self, cfg: Any) -> None:
        """In a new process: settings, of which gunicorn asks twenty for each request, become plain attributes."""
        self._end_with_parent()
        vars(cfg).update({name: setting.get() for name, setting in cfg.settings.items()})

    def _leave(self) -> None:
        if self._service is not None:
            self._service.close()


class _Log(Logger):  # type: ignore[misc]  # gunicorn has no types
    """gunicorn's own lines go where all others of the program go."""

    def setup(self, cfg: Any) -> None:
        super().setup(cfg)
        self.error_log.handlers.clear()
        self.error_log.propagate = True
        self.error_log.setLevel("NOTSET")
