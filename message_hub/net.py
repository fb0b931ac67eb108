"""One applied flow made ready to take messages: its routes and the doors to its Redis servers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from dataflow import connections
from dataflow.errors import StreamFull
from dataflow.flow.spec import Flow
from dataflow.store.door import MAX_MESSAGES, Appended, Door, Outgoing, Record
from dataflow.store.keys import Keys
from dataflow.store.redis import Client, connect
from message_hub.refusal import Refusal
from message_hub.routing import Router


class Net:
    """A flow, its router and one connection per Redis server. Immutable; threads share it.

    Args:
        flow: the checked flow.
        redis: connection name -> client, for every Redis of the flow.
        revision: of the applied flow that this was made for; 0 if none was.
    """

    def __init__(self, flow: Flow, redis: Mapping[str, Client], revision: int = 0) -> None:
        self.flow = flow
        self.redis = redis
        self.revision = revision
        self.keys = Keys(flow.name)
        self.router = Router(flow)
        self._doors = {name: Door(client, self.keys) for name, client in redis.items()}

    @classmethod
    def of(cls, flow: Flow, timeout_s: float) -> Net:
        """Connect (lazily) to every Redis that the flow's streams live on. Raises NotRunning.

        Args:
            timeout_s: how long a request waits for Redis.
        """
        addresses = connections.resolve(flow).redis
        used = dict.fromkeys(stream.on for stream in flow.streams.values())
        return cls(flow, {name: connect(addresses[name], timeout_s=timeout_s) for name in used})

    @property
    def first_redis(self) -> Client:
        """The server in which the applied flow is looked up."""
        return next(iter(self.redis.values()))

    def client_of(self, stream: str) -> Client:
        """The server that a declared stream lives on."""
        return self.redis[self.flow.streams[stream].on]

    def append(self, entries: Sequence[Outgoing], record: Record | None) -> Appended:
        """Store all entries or none.

        Raises:
            Refusal: 413 more than one append takes or a stream can ever hold, 422 streams on two servers.
            And what `Door.append` raises.
        """
        if len(entries) > MAX_MESSAGES:
            raise Refusal(413, f"{len(entries)} messages in one request; send at most {MAX_MESSAGES} at a time")
        servers = {self.flow.streams[entry.stream].on for entry in entries}
        if len(servers) > 1:
            raise Refusal(422, "these messages go to streams on two Redis servers; send them in separate requests")
        try:
            return self._doors[servers.pop()].append(entries, record=record)
        except StreamFull as full:
            _refuse_hopeless(entries, full)
            raise


def _refuse_hopeless(entries: Sequence[Outgoing], full: StreamFull) -> None:
    wanted = sum(entry.stream == full.stream for entry in entries)
    if wanted > full.max_len:
        text = f"{wanted} messages for stream {full.stream!r}, which holds {full.max_len} at most; send fewer at a time"
        raise Refusal(413, text)
