"""A collection with an edge into a stream, on real servers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from dataflow import mongo
from dataflow.audit import audit, is_clean
from dataflow.flow.load import loads
from dataflow.flow.spec import Edge, Flow
from dataflow.mongo import Collection, Collections, MongoClient
from dataflow.store.declare import apply
from dataflow.store.keys import Keys
from dataflow.store.redis import Client, call, connect
from sync.intake.collection import OrderedCollection
from sync.intake.puller import Puller
from sync.run import Run
from tests.sync.lab import as_dict

FLOW = """
flow: water
connections:
  main: {redis: embedded}
  store: {mongo: embedded}
streams:
  a.stream_in: {keep: {messages: 100000}, max_len: 1000, schema: {n: int, x: float?, at: datetime?, j: json?}}
edges:
  take: {kind: mongo2s, from: store.orders, to: a.stream_in, by: seq, fields: [n, x, at, j], batch: 10, settle_s: 0}
"""


class IntakeLab:
    """See the module.

    Args:
        options: fields of the edge to set otherwise.
    """

    def __init__(self, redis_url: str, mongo_url: str, text: str = FLOW, **options: Any) -> None:
        flow = loads(text, environ={})
        (edge,) = flow.edges.values()
        self.edge: Edge = replace(edge, **options)
        self.flow: Flow = replace(flow, edges={edge.name: self.edge})
        self.keys = Keys(flow.name)
        self.redis: Client = connect(redis_url)
        self.client: MongoClient = mongo.connect(mongo_url)
        apply(self.flow, self.redis)
        self.filled = 0

    def close(self) -> None:
        self.redis.close()
        self.client.close()

    @property
    def collection(self) -> Collection:
        return mongo.collection_of(self.client, self.edge)

    def fill(self, count: int, **fields: Any) -> None:
        """Insert documents d0, d1, ... with n = 0, 1, ... and seq = 1, 1, 1, 2, 2, 2, ..."""
        numbers = range(self.filled, self.filled + count)
        self.collection.insert_many([{"_id": f"d{n:06}", "n": n, "seq": n // 3 + 1, **fields} for n in numbers])
        self.filled += count

    def puller(self, wrap: Callable[[Puller], None] = lambda one: None) -> Puller:
        made = Puller(self.flow, self.edge, self.redis, OrderedCollection(self.edge, self.client))
        wrap(made)
        return made

    def run(self, max_batches: int | None = None) -> Run:
        """One run by a runner of its own."""
        puller = self.puller()
        try:
            return puller.run(max_batches)
        finally:
            puller.leave()

    def entries(self, key: str | None = None) -> list[dict[str, str]]:
        stream = key or self.keys.stream(self.edge.anchor).stream
        return [as_dict(entry[1]) for entry in call(self.redis, "XRANGE", stream, "-", "+")]

    def dead(self) -> list[dict[str, str]]:
        return self.entries(self.keys.dead(self.edge.anchor, self.edge.name).stream)

    def arrived(self) -> list[int]:
        """`n` of every message, in order."""
        return [int(entry["n"]) for entry in self.entries()]

    def empty_target(self) -> None:
        """What `keep` does: entries go, and are counted as removed."""
        at = self.keys.stream(self.edge.anchor)
        removed = call(self.redis, "XTRIM", at.stream, "MAXLEN", "=", 0)
        call(self.redis, "HINCRBY", at.counts, "removed", removed)

    def state(self) -> dict[str, str]:
        return as_dict(call(self.redis, "HGETALL", self.keys.edge(self.edge.name)))

    def each_once(self) -> None:
        """Every document that was filled in arrived once, in order."""
        assert self.arrived() == list(range(self.filled))
        assert len({entry["_mid"] for entry in self.entries()}) == self.filled
        self.books_balance()

    def books_balance(self) -> None:
        """The audit over both servers is clean."""
        found = audit(self.flow, {"main": self.redis}, {}, {"store": Collections(self.client)})
        assert is_clean(found), [one for one in found if one.state == "drift"]
        assert any(one.check == "intake" and one.state in ("ok", "note") for one in found)
