"""The sink into streams: the contract of all sinks, and what is its own."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest

from dataflow.errors import BatchConflict, NotDeclared, StreamFull, TargetBehind
from dataflow.flow.load import loads
from dataflow.flow.spec import Flow
from dataflow.message import MID, Codec, meta
from dataflow.store.declare import apply
from dataflow.store.keys import Keys
from dataflow.store.redis import Client, call, connect
from sync.sink import Refusal, Row, Verdict
from sync.sinks.stream import StreamSink
from tests.sync.sink_contract import SCHEMA, SinkContract, batch, row, rows, write

pytestmark = pytest.mark.integration

PLAIN = """
flow: water
streams:
  a.stream_in: {}
  b.stream_in:
    keep: {messages: 100000}
    schema: {n: int, x: "float?", s: "str?", at: datetime, ok: "bool?"}
edges:
  move: {kind: s2s, from: a.stream_in, to: b.stream_in}
"""

ROUTED = """
flow: water
streams:
  a.stream_in: {}
  red.stream_in: {keep: {messages: 100000}, schema: {n: int}}
  blue.stream_in: {keep: {messages: 100000}, max_len: 1000}
  rest.stream_in: {keep: {messages: 100000}}
edges:
  sort:
    kind: s2s
    from: a.stream_in
    route: {by: colour, cases: {red: red.stream_in, blue: blue.stream_in, "5": red.stream_in}%s}
"""


class StreamHarness:
    """One Redis, and sinks that place into its streams."""

    def __init__(self, flow: Flow, redis: Client) -> None:
        self.flow, self.redis = flow, redis
        (self.edge,) = flow.edges.values()
        apply(flow, redis)

    def sink(self) -> StreamSink:
        return StreamSink(self.flow, self.edge, self.redis)

    def entries(self, stream: str) -> list[Row]:
        return [found[1] for found in call(self.redis, "XRANGE", Keys(self.flow.name).stream(stream).stream, "-", "+")]

    def mids(self, stream: str) -> list[str]:
        return [entry[entry.index(MID) + 1].decode() for entry in self.entries(stream)]

    def stored(self) -> dict[str, list[dict[str, Any]]]:
        codec, found = Codec(SCHEMA), defaultdict(list)
        for entry in self.entries(self.edge.target_streams[0]):
            decoded = codec.decode(entry)
            found[decoded.mid or ""].append(decoded.message)
        return dict(found)

    def bad(self, mid: str) -> Row:
        good = row(mid)
        good[good.index(b"n") + 1] = b"many"
        return good


def harness_of(text: str, url: str) -> StreamHarness:
    return StreamHarness(loads(text, Path("flow.yml")), connect(url))


class TestStreamSink(SinkContract):
    @pytest.fixture
    def harness(self, both_redis_url: str) -> StreamHarness:
        return harness_of(PLAIN, both_redis_url)


@pytest.fixture
def plain(redis_url: str) -> StreamHarness:
    return harness_of(PLAIN, redis_url)


@pytest.fixture
def routed(redis_url: str) -> StreamHarness:
    return harness_of(ROUTED % "", redis_url)


def coloured(mid: str, colour: str | None, **fields: Any) -> Row:
    return meta(mid, "hub@1") + Codec(None).encode({"colour": colour, "n": 1, **fields})


def ready(harness: StreamHarness) -> StreamSink:
    sink = harness.sink()
    sink.open()
    sink.handshake("a1", 1)
    return sink


class TestForwarding:
    def test_the_path_tells_the_edge_and_the_time_of_the_freeze(self, plain: StreamHarness) -> None:
        write(ready(plain), rows(1), frozen_ms=1763686800017)
        (entry,) = plain.entries("b.stream_in")
        assert entry[:4] == [b"_mid", b"m0", b"_path", b"hub@1>move@1763686800017"]
        assert entry[4:] == rows(1)[0][4:]

    def test_a_row_without_a_path_gets_one(self, plain: StreamHarness) -> None:
        write(ready(plain), [[MID, b"a.stream_in/1-1", *row("x")[4:]]], frozen_ms=5)
        (entry,) = plain.entries("b.stream_in")
        assert entry[:4] == [b"_mid", b"a.stream_in/1-1", b"_path", b"move@5"]

    def test_names_of_ours_come_first_whatever_their_order_was(self, plain: StreamHarness) -> None:
        write(ready(plain), [[*row("x")[4:], b"_path", b"hub@1", MID, b"x"]], frozen_ms=5)
        (entry,) = plain.entries("b.stream_in")
        assert entry == [b"_mid", b"x", b"_path", b"hub@1>move@5", *row("x")[4:]]

    def test_bytes_that_are_no_text_pass_through(self, routed: StreamHarness) -> None:
        odd = [MID, b"\xff\xfe", b"_path", b"hub@1", b"colour", b"blue", b"raw", bytes(range(256))]
        write(ready(routed), [odd])
        assert routed.entries("blue.stream_in")[0][-1] == bytes(range(256))
        assert routed.entries("blue.stream_in")[0][1] == b"\xff\xfe"

    def test_a_message_that_others_read_too_becomes_a_child(self, redis_url: str) -> None:
        text = PLAIN + "  copy: {kind: s2s, from: a.stream_in, to: c.stream_in}\n"
        text = text.replace("  a.stream_in: {}", "  a.stream_in: {}\n  c.stream_in: {keep: {messages: 10}}")
        flow = loads(text)
        redis = connect(redis_url)
        apply(flow, redis)
        sink = StreamSink(flow, flow.edges["copy"], redis)
        sink.open()
        sink.handshake("a1", 1)
        write(sink, rows(1))
        (found,) = call(redis, "XRANGE", Keys("water").stream("c.stream_in").stream, "-", "+")
        assert found[1][1] == b"m0.copy.0"

    def test_what_was_frozen_decides_and_not_the_flow_of_today(self, plain: StreamHarness) -> None:
        """Between freeze and resend the flow may be applied anew with another reader or another target."""
        content = rows(2)
        frozen = {"streams": ["b.stream_in"], "to": 0, "keeps_mid": False}
        sink = ready(plain)
        sink.write(batch(content), sink.prepare(content, Verdict(extra=frozen)))
        assert plain.mids("b.stream_in") == ["m0.move.0", "m1.move.0"]


class TestRoute:
    def test_each_value_has_its_stream(self, routed: StreamHarness) -> None:
        write(ready(routed), [coloured("a", "red"), coloured("b", "blue"), coloured("c", "5"), coloured("d", "red")])
        assert routed.mids("red.stream_in") == ["a", "c", "d"]
        assert routed.mids("blue.stream_in") == ["b"]

    @pytest.mark.parametrize("colour", ["green", "", None], ids=["unknown", "empty", "null"])
    def test_no_case_and_no_other_is_a_dead_letter(self, routed: StreamHarness, colour: str | None) -> None:
        prepared = ready(routed).prepare([coloured("a", colour), coloured("b", "red")], None)
        assert prepared.verdict.refused.keys() == {0}
        why = prepared.verdict.refused[0]
        assert why.field == "colour"
        assert ("absent or null" in why.reason) == (colour is None)

    def test_the_name_of_the_field_may_be_a_value_too(self, routed: StreamHarness) -> None:
        tricky = [MID, b"a", b"note", b"colour", b"colour", b"blue"]
        write(ready(routed), [tricky])
        assert routed.mids("blue.stream_in") == ["a"]

    def test_other_takes_the_rest(self, redis_url: str) -> None:
        harness = harness_of(ROUTED % ", other: rest.stream_in", redis_url)
        write(ready(harness), [coloured("a", "green"), coloured("b", None), coloured("c", "red")])
        assert harness.mids("rest.stream_in") == ["a", "b"]

    def test_a_message_must_fit_the_schema_of_its_target(self, routed: StreamHarness) -> None:
        bad, good = coloured("a", "red", n="many"), coloured("b", "blue", n="many")
        prepared = ready(routed).prepare([bad, good], None)
        assert prepared.verdict.refused == {0: Refusal("n", "int", "many does not read as int (stream red.stream_in)")}

    def test_a_full_target_holds_up_the_whole_batch(self, routed: StreamHarness) -> None:
        sink = ready(routed)
        for seq in (1, 2):
            write(sink, [coloured(f"{seq}-{n}", "blue") for n in range(500)], seq=seq)
        with pytest.raises(StreamFull) as full:
            write(sink, [coloured("a", "red"), coloured("b", "blue")], seq=3)
        assert (full.value.stream, full.value.depth, full.value.max_len) == ("blue.stream_in", 1000, 1000)
        assert routed.mids("red.stream_in") == []

    def test_what_was_applied_is_known_even_when_the_target_is_full(self, routed: StreamHarness) -> None:
        sink = ready(routed)
        write(sink, [coloured(f"x{n}", "blue") for n in range(500)], seq=1)
        last = [coloured(f"y{n}", "blue") for n in range(500)]
        write(sink, last, seq=2)
        assert write(sink, last, seq=2) == 500
        assert len(routed.mids("blue.stream_in")) == 1000


class TestMarker:
    def test_it_tells_what_was_applied(self, plain: StreamHarness) -> None:
        sink = ready(plain)
        write(sink, rows(3), seq=1)
        marker = plain.sink().handshake("a1", 4)
        assert (marker.seq, marker.epoch, marker.digest) == (1, 1, batch(rows(3)).digest)
        assert plain.sink().handshake("a1", 4).epoch == 4

    def test_another_batch_under_a_known_number_is_a_conflict(self, plain: StreamHarness) -> None:
        sink = ready(plain)
        write(sink, rows(3, "p"), seq=1)
        write(sink, rows(2, "q"), seq=2)
        with pytest.raises(BatchConflict) as conflict:
            write(sink, rows(3, "r"), seq=1)
        assert conflict.value.last_seq == 2
        assert sorted(conflict.value.applied_ids) == [b"1-0", b"1-1", b"1-2", b"2-0", b"2-1"]
        assert len(plain.mids("b.stream_in")) == 5

    def test_refused_rows_are_not_remembered_as_applied(self, plain: StreamHarness) -> None:
        """Else a source that lost its last writes would take them for delivered and never bury them."""
        sink = ready(plain)
        write(sink, [row("m0"), plain.bad("m1")], seq=1)
        with pytest.raises(BatchConflict) as conflict:
            write(sink, rows(1), seq=1)
        assert conflict.value.applied_ids == [b"1-0"]

    def test_a_gap_says_that_the_target_has_lost_batches(self, plain: StreamHarness) -> None:
        sink = ready(plain)
        write(sink, rows(1), seq=1)
        with pytest.raises(TargetBehind):
            write(sink, rows(1), seq=3)

    def test_ids_of_old_batches_are_forgotten(self, plain: StreamHarness) -> None:
        sink = ready(plain)
        key = Keys("water").marker("a1")
        for seq in range(1, 6):
            write(sink, rows(1, f"s{seq}-"), seq=seq)
        for seq in range(1, 5):
            call(plain.redis, "HSET", key, f"at:{seq}", 1)
        write(sink, rows(1, "s6-"), seq=6)
        kept = {name for name in call(plain.redis, "HKEYS", key) if name.startswith((b"ids:", b"at:"))}
        assert kept == {b"ids:5", b"at:5", b"ids:6", b"at:6"}

    def test_a_target_that_is_not_declared_takes_nothing(self, plain: StreamHarness) -> None:
        sink = ready(plain)
        call(plain.redis, "DEL", Keys("water").stream("b.stream_in").counts)
        with pytest.raises(NotDeclared):
            write(sink, rows(1))
        assert plain.mids("b.stream_in") == []
