"""What one process of the hub works with: the flow, its Redis, a pulse."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path

from flask import Flask

from dataflow.access.hosts import Hosts
from dataflow.flow.load import load
from dataflow.settings import Settings
from message_hub.app import create_app
from message_hub.live_net import LiveNet
from message_hub.net import Net
from message_hub.pulse import Pulse


class Host:
    """The hub of one flow, with connections of its own; its pulse begins at once. After the last fork.

    Args:
        path: the flow file.
        bind: host:port of the hub, told with each beat.
        settings: limits and time-outs.
        keys_required: ask for an API key even while the flow has none.
        hosts: the names by which it may be called while it asks for none; None: any.
    """

    def __init__(self, path: Path, bind: str, settings: Settings, *, keys_required: bool, hosts: Hosts | None) -> None:
        self._settings = settings
        self._keys_required = keys_required
        self._hosts = hosts
        self._live = LiveNet(lambda: Net.of(load(path), settings.redis_timeout_s))
        self._pulse = Pulse(self._live, bind)
        self._pulse.start()

    @cached_property
    def app(self) -> Flask:
        """The application."""
        return create_app(self._live, self._settings, keys_required=self._keys_required, hosts=self._hosts)

    def close(self) -> None:
        """Say good-bye."""
        self._pulse.stop()
