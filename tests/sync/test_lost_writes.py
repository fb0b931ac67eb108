"""A server that comes back without its last writes, on either side: nothing is doubled, and no loss is silent."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from dataflow.store.alarms import alarms
from dataflow.store.redis import Client, call
from dataflow.store.resume import resume
from dataflow.testing.servers import RedisServer
from sync.sink import Batch, Prepared, Sink
from tests.sync.lab import NET, STEPS, Crash, Lab, tripped

pytestmark = pytest.mark.integration


class Snapshot:
    """Everything on a server at one moment, as an append-only file cut there would give it back."""

    def __init__(self, redis: Client) -> None:
        self._redis = redis
        self._values = {key: call(redis, "DUMP", key) for key in call(redis, "KEYS", "*")}

    def rewind(self) -> None:
        """The server crashes and comes back with what it had then."""
        call(self._redis, "FLUSHDB")
        for key, value in self._values.items():
            call(self._redis, "RESTORE", key, 0, value)


@pytest.fixture
def lab(redis_url: str, own_redis: RedisServer) -> Iterator[Lab]:
    """Source and target on different servers."""
    lab = Lab(redis_url, target_url=own_redis.url)
    yield lab
    lab.close()


def numbers(lab: Lab) -> list[str]:
    return sorted(lab.arrived(), key=lambda mid: int(mid[1:]))


class TestSource:
    @pytest.mark.parametrize("batch", [3, 10, 500])
    @pytest.mark.parametrize("when", ["before", "after"])
    @pytest.mark.parametrize(("end", "method"), STEPS)
    def test_what_the_target_has_is_not_sent_again(
        self, redis_url: str, own_redis: RedisServer, end: str, method: str, when: str, batch: int
    ) -> None:
        """The cut may fall between any two steps, and the batches that are read then may be of another size."""
        lab = Lab(redis_url, target_url=own_redis.url)
        lab.fill(35)
        lab.run(max_batches=1)
        taken: list[Snapshot] = []
        runner = tripped(lab, end, method, when, lambda: taken.append(Snapshot(lab.redis)))
        assert runner.run().state == "empty"
        taken[0].rewind()
        after = Lab(redis_url, target_url=own_redis.url, batch=batch)
        after.filled = 35
        after.fill(7)
        after.expire_lease()
        assert after.run().state == "empty"
        assert numbers(after) == [f"m{n}" for n in range(42)]
        assert after.waiting() == 0

    def test_the_runner_that_lived_through_it_goes_on(self, lab: Lab) -> None:
        """The same process, with what it remembers: its lease, its epoch, its handshake."""
        lab.fill(15)
        runner = lab.runner()
        runner.run()
        lab.fill(20)
        snapshot = Snapshot(lab.redis)
        runner.run()
        snapshot.rewind()
        lab.fill(5)
        assert runner.run().state == "empty"
        assert numbers(lab) == [f"m{n}" for n in range(40)]

    def test_the_epoch_is_raised_above_what_the_target_has_seen(self, lab: Lab) -> None:
        lab.fill(10)
        lab.run(max_batches=0)
        snapshot = Snapshot(lab.redis)
        for _ in range(5):
            lab.run(max_batches=0)
        assert lab.lane_state()["epoch"] == "6"
        snapshot.rewind()
        assert lab.run().state == "empty"
        assert lab.lane_state()["epoch"] == "7"
        lab.each_once()

    def test_dead_letters_that_were_lost_with_it_are_buried_again(self, lab: Lab) -> None:
        lab.fill(4)
        lab.fill(2, n="many")
        lab.fill(4)
        lab.run(max_batches=0)
        snapshot = Snapshot(lab.redis)
        assert lab.run().dead == 2
        snapshot.rewind()
        assert lab.run().dead == 2
        assert [letter["_mid"] for letter in lab.dead()] == ["m4", "m5"]
        assert lab.arrived() == ["m0", "m1", "m2", "m3", "m6", "m7", "m8", "m9"]

    def test_a_row_that_was_refused_and_fits_now_is_sent(self, redis_url: str, own_redis: RedisServer) -> None:
        """The verdict is part of a batch's identity: the same entries under another verdict are another batch."""
        lab = Lab(redis_url, target_url=own_redis.url)
        lab.fill(4)
        lab.fill(1, n="many")
        lab.run(max_batches=0)
        snapshot = Snapshot(lab.redis)
        assert lab.run().dead == 1
        snapshot.rewind()
        mended = Lab(redis_url, NET.replace("n: int", "n: str"), own_redis.url)
        run = mended.run()
        assert (run.written, run.skipped, run.dead) == (1, 4, 0)
        assert mended.arrived() == ["m0", "m1", "m2", "m3", "m4"]

    def test_a_second_cut_while_reconciling(self, lab: Lab) -> None:
        lab.fill(35)
        lab.run(max_batches=1)
        first = Snapshot(lab.redis)
        lab.run()
        first.rewind()
        taken: list[Snapshot] = []
        with pytest.raises(Crash):
            tripped(lab, "source", "settle", "after", lambda: _snapshot_and_crash(taken, lab)).run()
        first.rewind()
        lab.expire_lease()
        assert lab.run().state == "empty"
        lab.each_once()


def _snapshot_and_crash(taken: list[Snapshot], lab: Lab) -> None:
    taken.append(Snapshot(lab.redis))
    raise Crash


class TestTarget:
    @pytest.mark.parametrize("when", ["before", "after"])
    @pytest.mark.parametrize(("end", "method"), STEPS)
    def test_a_batch_that_was_not_settled_is_sent_again(self, lab: Lab, end: str, method: str, when: str) -> None:
        lab.fill(15)
        lab.run(max_batches=1)
        snapshot = Snapshot(lab.target)
        with pytest.raises(Crash):
            tripped(lab, end, method, when, lambda: _crash()).run()
        snapshot.rewind()
        lab.expire_lease()
        run = lab.run()
        assert run.state == "empty"
        lab.each_once()

    def test_a_batch_that_was_settled_is_sent_again(self, lab: Lab) -> None:
        lab.fill(10)
        lab.run()
        snapshot = Snapshot(lab.target)
        lab.fill(20)
        lab.run()
        snapshot.rewind()
        assert lab.run().state == "empty"
        lab.each_once()

    def test_while_another_runner_of_before_has_sent_something_else(self, lab: Lab) -> None:
        """It was stopped with a batch in hand that its server has forgotten; what it sends fits what the target has."""
        lab.fill(2)
        stopped = StoppedSink(lab.sink())
        begun = Snapshot(lab.target)
        lab.run(max_batches=0)
        unfrozen = Snapshot(lab.redis)
        with pytest.raises(Crash):
            lab.runner(make_sink=lambda: stopped).run(1)
        unfrozen.rewind()
        lab.fill(3)
        lab.expire_lease()
        assert lab.run().read == 5
        begun.rewind()
        stopped.wake()
        assert lab.arrived() == ["m0", "m1"]
        assert lab.run().state == "empty"
        lab.each_once()

    def test_a_batch_that_was_confirmed_is_missed_and_the_edge_pauses(self, lab: Lab) -> None:
        lab.fill(10)
        lab.run()
        snapshot = Snapshot(lab.target)
        lab.fill(20)
        lab.run()
        assert lab.confirm() == 0
        snapshot.rewind()
        lab.fill(5)
        run = lab.run()
        assert run.state == "paused"
        assert "does not have the batch before it" in run.error
        assert [alarm.kind for alarm in alarms(lab.redis, lab.keys)] == ["edge-paused"]
        assert lab.run().state == "paused"
        assert not resume(lab.flow, lab.edge, lab.redis, lab.target).lost_batches
        assert lab.run().state == "paused", "the loss is still there"

        told = resume(lab.flow, lab.edge, lab.redis, lab.target, accept_loss=True)
        assert (told.was_paused, told.lost_batches) == (True, 2)
        assert alarms(lab.redis, lab.keys) == []
        assert lab.run().state == "empty"
        assert lab.arrived() == [f"m{n}" for n in [*range(10), *range(30, 35)]]


def _crash() -> None:
    raise Crash


class StoppedSink:
    """Stands before a sink; stops with the batch in hand, and sends it when it is woken."""

    def __init__(self, inner: Sink) -> None:
        self._inner = inner
        self._work: tuple[Batch, Prepared] | None = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def write(self, batch: Batch, prepared: Prepared) -> int:
        self._work = batch, prepared
        raise Crash

    def wake(self) -> None:
        assert self._work is not None
        self._inner.write(*self._work)


class TestBoth:
    @pytest.mark.parametrize("when", ["before", "after"])
    @pytest.mark.parametrize(("end", "method"), STEPS)
    def test_one_server_that_is_source_and_target_forgets_both_sides(
        self, redis_url: str, end: str, method: str, when: str
    ) -> None:
        lab = Lab(redis_url)
        lab.fill(35)
        taken: list[Snapshot] = []
        tripped(lab, end, method, when, lambda: taken.append(Snapshot(lab.redis))).run()
        taken[0].rewind()
        lab.expire_lease()
        lab.fill(5)
        assert lab.run().state == "empty"
        lab.each_once()


class TestDeletedByHand:
    def test_entries_of_a_batch_that_was_applied_are_not_missed(self, lab: Lab) -> None:
        lab.fill(15)
        with pytest.raises(Crash):
            tripped(lab, "sink", "write", "after", _crash).run()
        self.delete(lab, 3)
        lab.expire_lease()
        assert lab.run().state == "empty"
        assert lab.arrived() == [f"m{n}" for n in range(15)]

    def test_entries_of_a_batch_that_was_not_pause_the_edge(self, lab: Lab) -> None:
        lab.fill(15)
        with pytest.raises(Crash):
            tripped(lab, "sink", "write", "before", _crash).run()
        self.delete(lab, 3)
        lab.expire_lease()
        run = lab.run()
        assert (run.state, lab.arrived()) == ("paused", [])
        assert "7 of 10 are left" in run.error
        resume(lab.flow, lab.edge, lab.redis, lab.target)
        assert lab.run().state == "paused", "the loss is still there"

        told = resume(lab.flow, lab.edge, lab.redis, lab.target, accept_loss=True)
        assert (told.was_paused, told.lost_entries) == (True, 3)
        assert lab.run().state == "empty"
        assert lab.arrived() == [f"m{n}" for n in range(3, 15)]
        assert lab.counts()["move.lost"] == 3
        lab.books_balance()

    def test_accepting_a_loss_where_there_is_none_changes_nothing(self, lab: Lab) -> None:
        lab.fill(15)
        with pytest.raises(Crash):
            tripped(lab, "sink", "write", "after", _crash).run()
        before = lab.lane_state()
        told = resume(lab.flow, lab.edge, lab.redis, lab.target, accept_loss=True)
        assert (told.was_paused, told.lost_entries, told.lost_batches) == (False, 0, 0)
        assert lab.lane_state() == before
        lab.expire_lease()
        lab.run()
        lab.each_once()

    @staticmethod
    def delete(lab: Lab, count: int) -> None:
        """What an operator's XTRIM does."""
        key = lab.keys.stream("a.stream_in").stream
        for id_, _ in call(lab.redis, "XRANGE", key, "-", "+", "COUNT", count):
            call(lab.redis, "XDEL", key, id_)


class TestTwoBoxes:
    def test_two_sources_with_one_flow_file_feed_one_target(self, redis_url: str, own_redis: RedisServer) -> None:
        """Each lineage is born with its source, so that neither is taken for the other."""
        with RedisServer() as second:
            one = Lab(redis_url, target_url=own_redis.url)
            two = Lab(second.url, target_url=own_redis.url)
            one.fill(15)
            two.fill(15)
            for _ in range(2):
                assert one.run(max_batches=1).read == two.run(max_batches=1).read
            assert sorted(one.arrived()) == sorted([f"m{n}" for n in range(15)] * 2)

    def test_a_source_that_was_flushed_is_a_new_one(self, lab: Lab) -> None:
        lab.fill(15)
        lab.run()
        call(lab.redis, "FLUSHDB")
        lab.declare()
        lab.fill(15)
        assert lab.run().read == 15
        assert lab.arrived() == [f"m{n}" for n in range(30)]
