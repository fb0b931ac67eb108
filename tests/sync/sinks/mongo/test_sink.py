"""The sink against every answer a MongoDB can give."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from dataflow.errors import BatchConflict, Fenced, OutcomeUnknown, ServerAway, TargetRefused
from dataflow.mongo import connect
from sync.sink import Sink, Verdict
from sync.sinks.mongo.sink import MongoSink
from tests.sync.sink_contract import SCHEMA, batch, row, rows, thawed
from tests.sync.sinks.edges import edge
from tests.sync.sinks.leases import Leases
from tests.sync.sinks.mongo.wire_server import Refuse, WireServer

pytestmark = pytest.mark.integration

EDGE = edge("scores", kind="s2mongo", connection="store")


@pytest.fixture
def server() -> Iterator[WireServer]:
    with WireServer() as server:
        yield server


def sink_of(server: WireServer, leases: Leases | None = None, parameters: str = "") -> Sink:
    sink = MongoSink(EDGE, SCHEMA, connect(server.url + parameters), leases or Leases())
    sink.open()
    return sink


@pytest.fixture
def sink(server: WireServer) -> Sink:
    return sink_of(server)


def write(sink: Sink, count: int = 3) -> int:
    content = rows(count)
    return sink.write(batch(content), sink.prepare(content, None))


class TestWhatIsSent:
    def test_one_unordered_bulk_that_a_majority_has_in_its_journal(self, server: WireServer, sink: Sink) -> None:
        assert write(sink) == 3
        (command,) = server.commands
        assert (command["update"], command["$db"], command["ordered"]) == ("scores", "dataflow", False)
        assert command["writeConcern"] == {"w": "majority", "j": True, "wtimeout": 30_000}
        assert [one["upsert"] for one in command["updates"]] == [True] * 3

    def test_a_concern_in_the_url_counts(self, server: WireServer) -> None:
        write(sink_of(server, parameters="lab?w=1"))
        (command,) = server.commands
        assert (command["$db"], command["writeConcern"]) == ("lab", {"w": 1})

    def test_a_document_that_is_there_stays_as_it_is(self, server: WireServer, sink: Sink) -> None:
        write(sink)
        server.stored["m1"]["worked_on"] = True
        write(sink)
        assert server.stored["m1"]["worked_on"] is True
        assert len(server.stored) == 3

    def test_a_message_without_fields(self, server: WireServer) -> None:
        sink = MongoSink(EDGE, None, connect(server.url), Leases())
        content = [[b"_mid", b"m0"]]
        assert sink.write(batch(content), sink.prepare(content, None)) == 1
        assert server.stored == {"m0": {"_id": "m0"}}

    def test_where_a_frozen_batch_goes_was_frozen_with_it(self, server: WireServer, sink: Sink) -> None:
        content = rows(2)
        prepared = sink.prepare(content, None)
        moved = MongoSink(edge("elsewhere", kind="s2mongo", connection="store"), None, connect(server.url), Leases())
        moved.write(batch(content, resent=True), thawed(moved, content, prepared))
        assert server.commands[0]["update"] == "scores"
        assert server.stored["m1"]["n"] == 1, "typed as when it was frozen"


class TestSingleDocuments:
    @pytest.mark.parametrize("code", [11000, 121, 2, 17419])
    def test_one_that_is_refused_for_ever_is_named_and_the_others_land(
        self, server: WireServer, sink: Sink, code: int
    ) -> None:
        server.refuse = self.refusing("m1", code, "a reason")
        content = rows(3)
        with pytest.raises(BatchConflict) as conflict:
            sink.write(batch(content), sink.prepare(content, None))
        assert (conflict.value.applied_ids, conflict.value.last_seq) == ([b"1-0", b"1-2"], 1)
        assert sorted(server.stored) == ["m0", "m2"]
        refused = sink.prepare(content, None).verdict.refused
        assert list(refused) == [1]
        assert "a reason" in refused[1].reason

    def test_what_was_refused_is_tried_again_another_time(self, server: WireServer, sink: Sink) -> None:
        """A dead letter that is replayed after somebody mended the collection."""
        server.refuse = self.refusing("m1", 11000)
        with pytest.raises(BatchConflict):
            write(sink)
        content = [row("x")]
        sink.write(batch(content, seq=2), sink.prepare(content, None))
        assert not sink.prepare(rows(3), None).verdict.refused

    def test_what_is_refused_later_adds_to_what_was_refused_before(self, server: WireServer, sink: Sink) -> None:
        """Else the two would take turns, and the batch would never settle."""
        content = rows(4)
        server.refuse = self.refusing("m1", 121)
        with pytest.raises(BatchConflict):
            sink.write(batch(content), sink.prepare(content, None))
        fresh = sink.prepare(content, None).verdict
        frozen_anew = Verdict(fresh.refused, frozenset({0}), fresh.extra)
        server.refuse = self.refusing("m2", 121)
        with pytest.raises(BatchConflict) as conflict:
            sink.write(batch(content, seq=2), sink.prepare(content, frozen_anew))
        assert conflict.value.applied_ids == [b"2-0", b"2-3"]
        assert sorted(sink.prepare(content, None).verdict.refused) == [1, 2]

    @pytest.mark.parametrize("code", [112, 11600, 50, 189, 91, 99999])
    def test_any_other_error_leaves_the_outcome_open(self, server: WireServer, sink: Sink, code: int) -> None:
        server.refuse = self.refusing("m1", code)
        with pytest.raises(OutcomeUnknown):
            write(sink)

    def test_one_that_another_runner_has_just_inserted_is_there(self, server: WireServer, sink: Sink) -> None:
        server.refuse = self.refusing("m1", 11000, "E11000 duplicate key error collection: a.b index: _id_ dup key")
        assert write(sink) == 3

    @staticmethod
    def refusing(mid: str, code: int, text: str = "no") -> Refuse:
        return lambda document: (code, text) if document["_id"] == mid else None


class TestTheServer:
    def test_a_concern_that_was_not_met_leaves_the_outcome_open(self, server: WireServer, sink: Sink) -> None:
        server.concern = "waiting for replication timed out"
        with pytest.raises(OutcomeUnknown, match="timed out"):
            write(sink)

    def test_an_answer_that_was_lost_leaves_the_outcome_open(self, server: WireServer, sink: Sink) -> None:
        server.deaf = True
        with pytest.raises(OutcomeUnknown):
            write(sink)
        assert len(server.stored) == 3
        assert write(sink) == 3
        assert len(server.stored) == 3

    def test_one_that_is_not_there_is_away(self, server: WireServer) -> None:
        sink = MongoSink(EDGE, SCHEMA, connect("mongodb://127.0.0.1:1/?serverSelectionTimeoutMS=100"), Leases())
        with pytest.raises(ServerAway):
            sink.open()

    def test_one_that_lets_nobody_write_refuses(self, server: WireServer, sink: Sink) -> None:
        server.denied = 13
        with pytest.raises(TargetRefused):
            write(sink)
        assert not server.stored

    def test_an_overtaken_runner_sends_nothing(self, server: WireServer) -> None:
        leases = Leases()
        sink = sink_of(server, leases)
        leases.take("a1", 2)
        with pytest.raises(Fenced):
            write(sink)
        assert not server.commands
