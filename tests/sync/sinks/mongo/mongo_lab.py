"""A stream with an edge into a collection, on real servers."""

from __future__ import annotations

from typing import Any

from dataflow import mongo
from dataflow.audit import audit, is_clean
from dataflow.mongo import Collection, Collections, MongoClient
from sync.claim import SourceClaim
from sync.sinks.mongo.sink import MongoSink
from tests.sync.lab import Lab

FLOW = """
flow: water
connections:
  main: {redis: embedded}
  store: {mongo: embedded}
streams:
  a.stream_out: {schema: {n: int, x: float?}}
edges:
  keep: {kind: s2mongo, from: a.stream_out, to: store.scores, batch: 10, exclusive: true}
"""


class MongoLab(Lab):
    """See the module."""

    def __init__(self, redis_url: str, mongo_url: str, text: str = FLOW, **options: Any) -> None:
        super().__init__(redis_url, text, **options)
        self.client: MongoClient = mongo.connect(mongo_url)

    def close(self) -> None:
        super().close()
        self.client.close()

    @property
    def collection(self) -> Collection:
        return mongo.collection_of(self.client, self.edge)

    def sink(self) -> MongoSink:  # type: ignore[override]  # another kind of sink
        claim = SourceClaim(self.redis, self.keys, self.edge.name)
        return MongoSink(self.edge, self.flow.streams[self.edge.source].schema, self.client, claim)

    def arrived(self) -> list[str]:
        """The `_id`s in the collection, by `n`."""
        return [one["_id"] for one in sorted(self.collection.find(), key=lambda one: one["n"])]

    def books_balance(self) -> None:
        """The audit over both servers is clean."""
        found = audit(self.flow, {"main": self.redis}, {}, {"store": Collections(self.client)})
        assert is_clean(found), [one for one in found if one.state == "drift"]
