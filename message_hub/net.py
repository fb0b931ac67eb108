"""One applied flow made ready to take messages: its routes and the doors to its Redis servers."""

from __future__ import annotations

from collections.abc import Mapping

from dataflow import connections
from dataflow.errors import ServerFull, StreamFull
from dataflow.flow.spec import Flow
from dataflow.store.door import Appended, Door, Outgoings, Record, Stamp, per_stream
from dataflow.store.keys import Keys
from dataflow.store.memory import DOOR_MARK, Gauge
from dataflow.store.redis import Client, connect
from message_hub.refusal import Refusal
from message_hub.routing import Router


class Net:
    """A flow, its router and one pool of connections per Redis server. Never changed; threads share it.

    Args:
        flow: the checked flow.
        redis: connection name -> client, for every connection that has streams.
    """

    def __init__(self, flow: Flow, redis: Mapping[str, Client]) -> None:
        self.flow = flow
        self.redis = redis
        self.keys = Keys(flow.name)
        self.router = Router(flow)
        self._doors = {name: Door(client, self.keys) for name, client in redis.items()}
        self._gauges = {name: Gauge(client) for name, client in redis.items()}

    @classmethod
    def of(cls, flow: Flow, timeout_s: float) -> Net:
        """A net with connections to every Redis that the flow's streams live on, made when they are first used.

        Args:
            timeout_s: how long a request waits for Redis.

        Raises NotRunning: an embedded server is declared, but no `dataflow up` runs.
        """
        addresses = connections.resolve(flow).redis
        return cls(flow, {name: connect(addresses[name], timeout_s=timeout_s) for name in flow.redis_connections})

    @property
    def home(self) -> Client:
        """The server that tells which flow is applied, and gets the heartbeats."""
        return self.redis[self.flow.home]

    def append(self, entries: Outgoings, stamp: Stamp, record: Record | None = None) -> Appended:
        """Store all entries, or none.

        Raises:
            Refusal: 413 more messages than a stream can ever hold, 422 streams on two servers.
            And what `Door.append` raises.
        """
        servers = {self.flow.streams[name].on for name in per_stream(entries)}
        if len(servers) > 1:
            raise Refusal(422, "these messages go to streams on two Redis servers; send them in separate requests")
        server = servers.pop()
        try:
            self._gauges[server].check(DOOR_MARK)
            return self._doors[server].append(entries, record=record, stamp=stamp)
        except ServerFull:
            known = self._doors[server].recall(record) if record else None
            if known is None:
                raise
            return known
        except StreamFull as full:
            _refuse_hopeless(entries, full)
            raise

    def recall(self, record: Record) -> Appended | None:
        """The first answer to a request that was stored before, on whichever server; None if there is none."""
        known = (door.recall(record) for door in self._doors.values())
        return next((answer for answer in known if answer is not None), None)


def _refuse_hopeless(entries: Outgoings, full: StreamFull) -> None:
    number = per_stream(entries).get(full.stream, 0)
    if number > full.max_len:
        text = f"{number} messages for stream {full.stream!r}, which holds {full.max_len} at most; send fewer at a time"
        raise Refusal(413, text)
