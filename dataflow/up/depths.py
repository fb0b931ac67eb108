"""How many messages wait in each stream, for the status page."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import redis

from dataflow.flow.spec import Flow
from dataflow.store.keys import Keys
from dataflow.store.redis import Client, connect

_TIMEOUT_S = 0.5


@dataclass(frozen=True, slots=True)
class Depth:
    """One stream: messages in it, its room, dead letters of all its readers."""

    stream: str
    messages: int
    max_len: int
    dead: int


class Depths:
    """Reads the depths of a flow's streams. Blocks half a second at most per Redis.

    Args:
        flow: the flow.
        urls: address of every Redis connection that has streams.
    """

    def __init__(self, flow: Flow, urls: Mapping[str, str]) -> None:
        self._flow = flow
        self._keys = Keys(flow.name)
        self._clients = {name: connect(url, timeout_s=_TIMEOUT_S) for name, url in urls.items()}

    def read(self) -> list[Depth] | None:
        """Depths of all streams in the order of the flow; None while a Redis does not answer."""
        try:
            found = [d for name, client in self._clients.items() for d in self._read(name, client)]
        except redis.RedisError:
            return None
        order = list(self._flow.streams)
        return sorted(found, key=lambda depth: order.index(depth.stream))

    def close(self) -> None:
        """Let go of the connections."""
        for client in self._clients.values():
            client.close()

    def _read(self, connection: str, client: Client) -> list[Depth]:
        streams = [s for s in self._flow.streams.values() if s.on == connection]
        pipeline = client.pipeline(transaction=False)
        for stream in streams:
            pipeline.xlen(self._keys.stream(stream.name).stream)
            for group in self._flow.readers(stream.name):
                pipeline.xlen(self._keys.dead(stream.name, group).stream)
        answers = iter(pipeline.execute())
        return [
            Depth(s.name, next(answers), s.max_len, sum(next(answers) for _ in self._flow.readers(s.name)))
            for s in streams
        ]
