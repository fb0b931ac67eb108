"""What one process of the API works with: the flow, Redis, the broker. It moves nothing and opens no warehouse."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path

from flask import Flask

from dataflow.access.gate import LOOPBACK
from dataflow.access.hosts import Hosts
from dataflow.broker import broker_url, queue_of
from dataflow.hints import HintSender
from sync.api.app import create_app
from sync.api.runs import Runs
from sync.room import Room


class Host:
    """The API of one flow. Thread-safe once `app` was made.

    Args:
        path: the flow file.
        waiters: requests that may wait for a result at the same time.
        keys_required: ask for an API key even while the flow has none.
        hosts: the names by which it may be called while it asks for none; None: any.

    Raises FlowError, NotRunning.
    """

    def __init__(
        self, path: Path, waiters: int, *, keys_required: bool = False, hosts: Hosts | None = LOOPBACK
    ) -> None:
        self._keys_required = keys_required
        self._hosts = hosts
        self._room = Room(path)
        url = self._room.resolved.redis[self._room.flow.home]
        self._hints = HintSender(broker_url(url), queue_of(self._room.flow.name))
        self._runs = Runs(lambda: self._room.asked, lambda: self._hints, waiters)

    @cached_property
    def app(self) -> Flask:
        """The application."""
        return create_app(self._room, self._runs, keys_required=self._keys_required, hosts=self._hosts)

    def close(self) -> None:
        """Let go of all servers."""
        self._hints.close()
        self._room.close()
