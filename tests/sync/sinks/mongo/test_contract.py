"""The sink contract on a real MongoDB-wire server, and on one that keeps BSON as MongoDB does."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Any

import pytest

from dataflow.errors import BatchConflict
from dataflow.flow.spec import Field
from dataflow.mongo import MongoClient, collection_of, connect
from dataflow.testing.mongo import MongoServer
from sync.sink import Row, Sink
from sync.sinks.mongo.sink import MongoSink
from tests.sync.sink_contract import SCHEMA, Harness, SinkContract, batch, row
from tests.sync.sinks.edges import edge
from tests.sync.sinks.leases import Leases
from tests.sync.sinks.mongo.wire_server import WireServer

TYPES = SCHEMA | {"at": Field("str")}
"""A BSON date holds milliseconds; microseconds are kept as text."""


class LeasedSink(MongoSink):
    """Shakes hands as a runner does who has just taken the lease."""

    def __init__(self, leases: Leases, *args: Any) -> None:
        super().__init__(*args, leases)
        self._leases = leases

    def handshake(self, lineage: str, epoch: int) -> None:
        self._leases.take(lineage, epoch)
        super().handshake(lineage, epoch)


class MongoHarness:
    """A collection of its own."""

    def __init__(self, client: MongoClient, collection: str) -> None:
        self._client = client
        self._edge = edge(collection, kind="s2mongo", connection="store")
        self._leases = Leases()

    def sink(self) -> Sink:
        return LeasedSink(self._leases, self._edge, TYPES, self._client)

    def documents(self) -> list[dict[str, Any]]:
        return list(collection_of(self._client, self._edge).find())

    def stored(self) -> dict[str, list[dict[str, Any]]]:
        documents = [dict(document) for document in self.documents()]
        return {one.pop("_id"): [one | {"at": datetime.fromisoformat(one["at"])}] for one in documents}

    def bad(self, mid: str) -> Row:
        fields = row(mid)
        fields[fields.index(b"n") + 1] = b"9223372036854775808"
        return fields


class WireHarness(MongoHarness):
    """The documents of a wire server are looked at where they are."""

    def __init__(self, client: MongoClient, server: WireServer) -> None:
        super().__init__(client, "c")
        self._server = server

    def documents(self) -> list[dict[str, Any]]:
        return list(self._server.stored.values())


@pytest.mark.integration
class TestWire(SinkContract):
    @pytest.fixture
    def harness(self) -> Iterator[Harness]:
        with WireServer() as server, connect(server.url) as client:
            yield WireHarness(client, server)


@pytest.mark.integration
class TestEmbedded(SinkContract):
    @pytest.fixture
    def harness(self, mongo: MongoServer, request: pytest.FixtureRequest) -> Iterator[Harness]:
        with connect(mongo.url) as client:
            yield MongoHarness(client, f"t{abs(hash(request.node.nodeid))}")

    def test_it_is_this_mode(self, sink: Sink) -> None:
        assert sink.mode == "upsert"

    @pytest.mark.parametrize("number", ["inf", "-inf", "nan"])
    def test_values_come_back_as_they_were_sent(self, harness: Harness, sink: Sink, number: str) -> None:  # type: ignore[override]
        """This server keeps JSON, which has no infinities: it refuses them, and all else lands."""
        content = [row("good"), row("bad", x=float(number)), row("late", s="tab\t nul\0 quote'")]
        with pytest.raises(BatchConflict) as conflict:
            sink.write(batch(content), sink.prepare(content, None))
        assert conflict.value.applied_ids == [b"1-0", b"1-2"]
        assert sorted(harness.stored()) == ["good", "late"]
        again = sink.prepare(content, None)
        assert list(again.verdict.refused) == [1]
        assert "Invalid JSON" in again.verdict.refused[1].reason

    def test_nan_comes_back_as_nan_and_not_as_null(self, harness: Harness, sink: Sink) -> None:
        """See above: TestWire has it."""
        self.test_values_come_back_as_they_were_sent(harness, sink, "nan")
