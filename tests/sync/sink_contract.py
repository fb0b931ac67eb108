"""What every sink must do. A sink's own test module subclasses `SinkContract` and gives it a `harness`.

class TestMySink(SinkContract):
    @pytest.fixture
    def harness(self) -> Harness: ...
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Protocol

import pytest

from dataflow.errors import Fenced
from dataflow.flow.spec import Field
from dataflow.message import Codec, meta
from sync.sink import Batch, Prepared, Row, Sink, Verdict

SCHEMA: Mapping[str, Field] = {
    "n": Field("int"),
    "x": Field("float", nullable=True),
    "s": Field("str", nullable=True),
    "at": Field("datetime"),
    "ok": Field("bool", nullable=True),
}
CODEC = Codec(SCHEMA)
AT = datetime(2026, 1, 31, 12, 30, 0, 123456, tzinfo=UTC)
NOW_MS = 1_800_000_000_000
"""The time by which batches are frozen here; sinks under test have their clock at it."""


class Harness(Protocol):
    """One target and the sinks that write to it."""

    def sink(self) -> Sink:
        """A new sink, not yet open, as another process would make it."""

    def stored(self) -> dict[str, list[dict[str, Any]]]:
        """What is at the target: message id -> the messages there, with Python values. Nulls are None."""

    def bad(self, mid: str) -> Row:
        """A row that the target refuses because of its field `n`."""


def message(**fields: Any) -> dict[str, Any]:
    """A message that fits SCHEMA, with some fields set."""
    return {"n": 1, "x": 0.5, "s": "text", "at": AT, "ok": True} | fields


def row(mid: str, **fields: Any) -> Row:
    """A message as it stands in a stream."""
    return meta(mid, "hub@1") + CODEC.encode(message(**fields))


def rows(count: int, prefix: str = "m") -> list[Row]:
    """Messages m0, m1, ... with n = 0, 1, ..."""
    return [row(f"{prefix}{n}", n=n) for n in range(count)]


def batch(
    content: Sequence[Row],
    *,
    lineage: str = "a1",
    seq: int = 1,
    epoch: int = 1,
    resent: bool = False,
    frozen_ms: int = NOW_MS,
    in_doubt: bool = False,
) -> Batch:
    """A frozen batch; its digest follows from its content, as a runner's does."""
    digest = hashlib.blake2b(repr(list(content)).encode(), digest_size=16).hexdigest()
    ids = [b"%d-%d" % (seq, n) for n in range(len(content))]
    return Batch(lineage, seq, digest, epoch, "nonce", ids, content, frozen_ms, resent, in_doubt)


def write(sink: Sink, content: Sequence[Row], **options: Any) -> int:
    """Prepare and write in one."""
    return sink.write(batch(content, **options), sink.prepare(content, None))


def thawed(sink: Sink, content: Sequence[Row], prepared: Prepared) -> Prepared:
    """What another process makes of the frozen batch."""
    return sink.prepare(content, Verdict.from_json(prepared.verdict.to_json()))


class SinkContract:
    """The suite."""

    @pytest.fixture
    def harness(self) -> Harness:
        raise NotImplementedError("the subclass gives the harness")

    @pytest.fixture
    def sink(self, harness: Harness) -> Sink:
        """An open sink that has shaken hands."""
        return self.reopened(harness)

    @staticmethod
    def reopened(harness: Harness, epoch: int = 1) -> Sink:
        sink = harness.sink()
        sink.open()
        sink.handshake("a1", epoch)
        return sink

    def test_says_how_it_recognises_a_batch(self, sink: Sink) -> None:
        assert sink.mode in ("token", "readback", "upsert", "marker")

    def test_a_batch_arrives_whole(self, harness: Harness, sink: Sink) -> None:
        assert write(sink, rows(50)) == 50
        assert {mid: found[0]["n"] for mid, found in harness.stored().items()} == {f"m{n}": n for n in range(50)}

    def test_values_come_back_as_they_were_sent(self, harness: Harness, sink: Sink) -> None:
        sent = {
            "plain": message(),
            "nulls": message(x=None, s=None, ok=None),
            "empty": message(s="", ok=False),
            "large": message(n=2**63 - 1, x=1.7976931348623157e308),
            "small": message(n=-(2**63), x=5e-324),
            "inf": message(x=math.inf),
            "-inf": message(x=-math.inf),
            "signs": message(s="tab\t line\n quote' \" back\\slash \\N nul\0 \r end"),
            "letters": message(s="ä 日本語 🚰 \ufeff \u200d ‮"),
            "long": message(s="0123456789" * 20_000),
            "early": message(at=datetime(1970, 1, 1, tzinfo=UTC)),
            "late": message(at=datetime(2199, 12, 31, 23, 59, 59, 999999, tzinfo=UTC)),
        }
        content = [row(mid, **fields) for mid, fields in sent.items()]
        assert write(sink, content) == len(sent)
        stored = harness.stored()
        for mid, fields in sent.items():
            assert stored[mid] == [fields], mid

    def test_nan_comes_back_as_nan_and_not_as_null(self, harness: Harness, sink: Sink) -> None:
        write(sink, [row("nan", x=math.nan), row("null", x=None)])
        stored = harness.stored()
        assert math.isnan(stored["nan"][0]["x"])
        assert stored["null"][0]["x"] is None

    def test_messages_of_different_shapes_share_a_batch(self, harness: Harness, sink: Sink) -> None:
        turned = meta("turned", "hub@1") + CODEC.encode(dict(reversed(message(n=7).items())))
        with_attempt = [*meta("again", "hub@1"), b"_attempt", b"2", *CODEC.encode(message(n=8))]
        write(sink, [row("plain"), turned, with_attempt, row("null", s=None)])
        stored = harness.stored()
        assert stored["turned"] == [message(n=7)]
        assert stored["again"] == [message(n=8)]
        assert stored["null"] == [message(s=None)]

    def test_fields_that_nobody_declared_are_kept(self, harness: Harness, sink: Sink) -> None:
        write(sink, [row("m", unit="l/s", odd="ü\"'\n"), row("n", gone=None), row("o")])
        stored = harness.stored()
        assert stored["m"] == [message(unit="l/s", odd="ü\"'\n")]
        assert stored["n"] == [message(gone=None)]
        assert stored["o"] == [message()]

    def test_the_same_batch_twice_has_no_further_effect(self, harness: Harness, sink: Sink) -> None:
        content = rows(20)
        prepared = sink.prepare(content, None)
        assert sink.write(batch(content), prepared) == 20
        assert sink.write(batch(content), prepared) == 20
        assert sink.write(batch(content, resent=True), prepared) == 20
        self.each_once(harness, 20)

    def test_another_process_may_repeat_a_batch(self, harness: Harness, sink: Sink) -> None:
        content = rows(20)
        prepared = sink.prepare(content, None)
        sink.write(batch(content), prepared)
        sink.close()
        other = self.reopened(harness, epoch=2)
        assert other.write(batch(content, epoch=2, resent=True), thawed(other, content, prepared)) == 20
        self.each_once(harness, 20)

    def test_a_batch_that_never_arrived_is_taken_when_it_is_sent_again(self, harness: Harness, sink: Sink) -> None:
        content = rows(20)
        assert sink.write(batch(content, resent=True), sink.prepare(content, None)) == 20
        self.each_once(harness, 20)

    def test_batches_follow_one_another(self, harness: Harness, sink: Sink) -> None:
        for seq in range(1, 6):
            write(sink, rows(10, f"s{seq}-"), seq=seq)
        assert len(harness.stored()) == 50

    def test_equal_content_under_another_identity_is_another_batch(self, harness: Harness, sink: Sink) -> None:
        write(sink, [row("m1", n=5)], seq=1)
        write(sink, [row("m2", n=5)], seq=2)
        assert sorted(harness.stored()) == ["m1", "m2"]

    def test_lineages_do_not_disturb_each_other(self, harness: Harness, sink: Sink) -> None:
        other = harness.sink()
        other.open()
        other.handshake("b2", 1)
        write(sink, rows(5, "a"), lineage="a1", seq=1)
        write(other, rows(5, "b"), lineage="b2", seq=1)
        assert len(harness.stored()) == 10

    def test_bad_rows_are_named_and_the_others_land(self, harness: Harness, sink: Sink) -> None:
        content = [row("m0"), harness.bad("m1"), row("m2"), harness.bad("m3")]
        prepared = sink.prepare(content, None)
        assert sorted(prepared.verdict.refused) == [1, 3]
        assert prepared.verdict.refused[1].field == "n"
        assert prepared.verdict.refused[1].reason
        assert sink.write(batch(content), prepared) == 2
        assert sorted(harness.stored()) == ["m0", "m2"]

    def test_a_batch_of_bad_rows_alone_is_written_as_nothing(self, harness: Harness, sink: Sink) -> None:
        assert write(sink, [harness.bad("m0"), harness.bad("m1")]) == 0
        assert harness.stored() == {}

    def test_a_verdict_survives_its_way_through_the_source(self, harness: Harness, sink: Sink) -> None:
        content = [row("m0"), harness.bad("m1"), row("m2", s=None)]
        prepared = sink.prepare(content, None)
        again = thawed(sink, content, prepared)
        assert again.verdict == prepared.verdict
        sink.write(batch(content), again)
        sink.write(batch(content, resent=True), prepared)
        assert {mid: len(found) for mid, found in harness.stored().items()} == {"m0": 1, "m2": 1}

    def test_skipped_rows_are_left_out(self, harness: Harness, sink: Sink) -> None:
        content = rows(4)
        verdict = sink.prepare(content, None).verdict
        prepared = sink.prepare(content, Verdict(verdict.refused, frozenset({0, 2}), verdict.extra))
        assert prepared.verdict.skip == {0, 2}
        assert sink.write(batch(content), prepared) == 2
        assert sorted(harness.stored()) == ["m1", "m3"]

    def test_prepare_sends_nothing(self, harness: Harness, sink: Sink) -> None:
        sink.prepare(rows(5), None)
        assert harness.stored() == {}

    def test_a_prepared_batch_may_be_written_by_the_one_who_waited(self, harness: Harness, sink: Sink) -> None:
        """A payload is not used up, and not changed by being written."""
        content = [row("m0", s=None), row("m1", ok=None)]
        prepared = sink.prepare(content, None)
        sink.write(batch(content), prepared)
        other = self.reopened(harness)
        other.write(batch(content, resent=True), prepared)
        self.each_once(harness, 2)

    def test_an_overtaken_runner_is_told_so(self, harness: Harness, sink: Sink) -> None:
        self.reopened(harness, epoch=5)
        with pytest.raises(Fenced) as fenced:
            sink.handshake("a1", 4)
        assert fenced.value.epoch == 5

    def test_an_overtaken_runner_writes_nothing(self, harness: Harness, sink: Sink) -> None:
        content = rows(3)
        prepared = sink.prepare(content, None)
        newer = self.reopened(harness, epoch=2)
        newer.write(batch(content, epoch=2, resent=True), newer.prepare(content, None))
        newer.write(batch(rows(3, "later"), seq=2, epoch=2), newer.prepare(rows(3, "later"), None))
        with pytest.raises(Fenced):
            sink.write(batch(content, epoch=1), prepared)
        assert all(len(found) == 1 for found in harness.stored().values())
        assert len(harness.stored()) == 6

    def test_an_order_of_rows_is_no_identity(self, harness: Harness, sink: Sink) -> None:
        content = rows(3)
        assert write(sink, content, seq=1) == 3
        more = rows(3, "x")
        assert write(sink, list(reversed(more)), seq=2) == 3
        assert len(harness.stored()) == 6

    def test_it_can_be_closed_twice(self, sink: Sink) -> None:
        sink.close()
        sink.close()

    @staticmethod
    def each_once(harness: Harness, count: int) -> None:
        stored = harness.stored()
        assert len(stored) == count
        assert all(len(found) == 1 for found in stored.values())
