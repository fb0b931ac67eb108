"""One lane of an edge on real servers: every message once, whatever breaks between any two steps."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from dataflow.access import history
from dataflow.errors import OutcomeUnknown
from dataflow.store.alarms import alarms
from dataflow.store.deadletters import DeadLetters
from dataflow.store.redis import call
from sync import runner as runner_module
from sync.run import GOOD
from tests.sync.lab import NET, ROUTED, STEPS, Crash, Lab, Tripwire, as_dict, tripped, until

pytestmark = pytest.mark.integration


@pytest.fixture
def lab(redis_url: str) -> Iterator[Lab]:
    lab = Lab(redis_url)
    yield lab
    lab.close()


@pytest.fixture
def routed(redis_url: str) -> Iterator[Lab]:
    lab = Lab(redis_url, ROUTED)
    yield lab
    lab.close()


def crash() -> None:
    raise Crash


def lose_reply() -> None:
    raise OutcomeUnknown("the reply was lost")


class TestMoving:
    def test_everything_arrives_once_and_in_order(self, both_redis_url: str) -> None:
        lab = Lab(both_redis_url)
        lab.fill(35)
        run = lab.run()
        assert (run.state, run.read, run.written, run.batches, run.remaining) == ("empty", 35, 35, 4, 0)
        lab.each_once()

    def test_an_empty_source_is_no_work(self, lab: Lab) -> None:
        run = lab.run()
        assert (run.state, run.read, run.error) == ("empty", 0, "")

    def test_it_stops_after_so_many_batches(self, lab: Lab) -> None:
        lab.fill(35)
        run = lab.run(max_batches=2)
        assert (run.state, run.read, run.remaining) == ("more", 20, 15)
        assert lab.run().state == "empty"
        lab.each_once()

    def test_it_stops_between_batches_when_told_to(self, lab: Lab) -> None:
        lab.fill(35)
        runner, asked = lab.runner(), []

        def stop() -> bool:
            asked.append(1)
            return len(asked) > 1

        run = runner.run(stop=stop)
        assert (run.state, run.read) == ("stopped", 10)

    def test_the_group_of_the_edge_follows(self, both_redis_url: str) -> None:
        """Other tools look at the group: its position and, where Redis knows it, its lag."""
        lab = Lab(both_redis_url)
        lab.fill(25)
        lab.run(max_batches=2)
        (info,) = call(lab.redis, "XINFO", "GROUPS", lab.keys.stream("a.stream_in").stream)
        told = dict(zip(info[::2], info[1::2], strict=True))
        assert told[b"last-delivered-id"].decode() == lab.lane_state()["position"]
        assert told.get(b"lag", 5) == 5

    def test_entries_go_only_when_all_readers_are_done(self, redis_url: str) -> None:
        text = NET.replace("edges:", "workers:\n  w: {from: a.stream_in, handler: 'm:f'}\nedges:")
        lab = Lab(redis_url, text)
        lab.fill(25)
        assert lab.run().read == 25
        assert lab.waiting() == 25
        assert lab.arrived() == [f"m{n}.move.0" for n in range(25)]

    def test_a_run_keeps_its_lease_and_leaves_it_when_told(self, lab: Lab) -> None:
        lab.fill(15)
        mine, other = lab.runner(), lab.runner()
        assert mine.run().state == "empty"
        lab.fill(5)
        held = other.run()
        assert (held.state, held.read) == ("held", 0)
        assert mine.run().read == 5
        mine.leave()
        lab.fill(5)
        assert other.run().read == 5
        lab.each_once()

    def test_large_messages_make_small_batches(self, lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(runner_module, "BATCH_BYTES", 100_000)
        lab.fill(10, text="x" * 30_000)
        run = lab.run()
        assert (run.read, run.batches) == (10, 4)
        lab.fill(3, text="x" * 200_000)
        assert lab.run().batches == 3
        lab.each_once()


class TestCrash:
    @pytest.mark.parametrize("nth", [1, 2])
    @pytest.mark.parametrize("when", ["before", "after"])
    @pytest.mark.parametrize(("end", "method"), STEPS)
    def test_a_crash_at_any_step_loses_and_doubles_nothing(
        self, lab: Lab, end: str, method: str, when: str, nth: int
    ) -> None:
        lab.fill(35)
        victim = tripped(lab, end, method, when, crash, nth)
        if method in ("acquire", "handshake") and nth == 2:  # once per take-over
            victim.run(max_batches=1)
            victim.leave()
            victim = tripped(lab, end, method, when, crash)
        with pytest.raises(Crash):
            victim.run()
        lab.fill(5)
        lab.expire_lease()
        assert lab.run().state == "empty"
        lab.each_once()

    @pytest.mark.parametrize("when", ["before", "after"])
    @pytest.mark.parametrize(("end", "method"), STEPS)
    def test_the_same_on_both_versions_of_redis(self, both_redis_url: str, end: str, method: str, when: str) -> None:
        lab = Lab(both_redis_url)
        lab.fill(25)
        with pytest.raises(Crash):
            tripped(lab, end, method, when, crash).run()
        lab.expire_lease()
        lab.run()
        lab.each_once()

    @pytest.mark.parametrize("when", ["before", "after"])
    @pytest.mark.parametrize(("end", "method"), STEPS)
    def test_a_lost_reply_at_any_step_loses_and_doubles_nothing(
        self, lab: Lab, end: str, method: str, when: str
    ) -> None:
        lab.fill(35)
        runner = tripped(lab, end, method, when, lose_reply)
        assert runner.run().state == "unknown"
        assert runner.run().state == "empty"
        lab.each_once()

    def test_nothing_is_sent_that_is_not_frozen(self, lab: Lab) -> None:
        lab.fill(15)
        with pytest.raises(Crash):
            tripped(lab, "source", "freeze", "before", crash).run()
        assert lab.arrived() == []
        lab.expire_lease()
        with pytest.raises(Crash):
            tripped(lab, "sink", "write", "before", crash).run()
        assert lab.arrived() == []
        assert (lab.lane_state()["open_seq"], lab.lane_state()["open_count"]) == ("1", "10")

    def test_a_batch_is_repeated_to_the_byte(self, lab: Lab) -> None:
        lab.fill(5)
        with pytest.raises(Crash):
            tripped(lab, "sink", "write", "after", crash).run()
        first = lab.entries("b.stream_in")
        lab.empty_target()
        call(lab.target, "DEL", lab.keys.marker(lab.lane_state()["lineage"]))
        lab.expire_lease()
        lab.run()
        assert lab.entries("b.stream_in") == first

    def test_an_unexpected_error_leaves_the_batch_frozen(self, lab: Lab) -> None:
        lab.fill(5)

        def surprise() -> None:
            raise ZeroDivisionError

        runner = tripped(lab, "sink", "write", "before", surprise)
        with pytest.raises(ZeroDivisionError):
            runner.run()
        runner.leave()
        assert lab.run().read == 5
        lab.each_once()


class TestTwoRunners:
    def test_two_at_once_share_the_work(self, lab: Lab) -> None:
        lab.fill(400)
        states: list[str] = []

        def work() -> None:
            while lab.waiting():
                states.append(lab.run(max_batches=1).state)

        threads = [threading.Thread(target=work) for _ in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert set(states) <= {"more", "empty", "held", "fenced"}
        lab.each_once()

    @pytest.mark.parametrize("when", ["before", "after"])
    @pytest.mark.parametrize(("end", "method"), STEPS)
    def test_one_that_wakes_after_its_lease_has_no_effect(self, lab: Lab, end: str, method: str, when: str) -> None:
        """Stop it at each step, let another settle two more batches, wake it."""
        lab.fill(15)
        asleep, wake = threading.Event(), threading.Event()

        def sleep() -> None:
            asleep.set()
            assert wake.wait(20)

        sleeper = tripped(lab, end, method, when, sleep)
        found: list[str] = []
        thread = threading.Thread(target=lambda: found.append(sleeper.run(max_batches=1).state))
        thread.start()
        assert asleep.wait(20)
        lab.expire_lease()
        lab.fill(20)
        other = lab.runner()
        assert other.run().state == "empty"
        before = (lab.arrived(), lab.lane_state(), lab.counts())
        wake.set()
        thread.join(20)
        assert found[0] in GOOD | {"fenced"}
        assert (lab.arrived(), lab.lane_state(), lab.counts()) == before
        lab.each_once()
        sleeper.leave()
        lab.fill(5)
        assert other.run().read == 5

    def test_a_long_write_keeps_its_lease(self, redis_url: str) -> None:
        lab = Lab(redis_url, lease_s=0.3)
        lab.fill(10)
        asleep, wake = threading.Event(), threading.Event()

        def sleep() -> None:
            asleep.set()
            assert wake.wait(20)

        slow = tripped(lab, "sink", "write", "before", sleep)
        found: list[str] = []
        thread = threading.Thread(target=lambda: found.append(slow.run().state))
        thread.start()
        assert asleep.wait(20)
        first = lab.lane_state()["until_ms"]
        until(lambda: int(lab.lane_state()["until_ms"]) > int(first) + 600)
        assert lab.run().state == "held"
        wake.set()
        thread.join(20)
        assert found == ["empty"]
        lab.each_once()

    def test_a_lease_that_was_released_is_not_renewed(self, redis_url: str) -> None:
        lab = Lab(redis_url, lease_s=0.03)
        lab.fill(300)
        lab.run()
        assert "until_ms" not in lab.lane_state()


class TestFull:
    def test_a_full_target_holds_the_batch_until_there_is_room(self, lab: Lab) -> None:
        lab.fill(1015)
        run = lab.run()
        assert (run.state, run.read, len(lab.arrived())) == ("full", 1000, 1000)
        assert "b.stream_in" in run.error
        assert lab.lane_state()["open_count"] == "10"
        assert lab.run().state == "full"
        lab.empty_target()
        assert lab.run().state == "empty"
        assert lab.arrived() == [f"m{n}" for n in range(1000, 1015)]

    def test_a_batch_that_was_applied_settles_though_the_target_is_full(self, lab: Lab) -> None:
        lab.fill(1000)
        with pytest.raises(Crash):
            tripped(lab, "sink", "write", "after", crash, nth=100).run()
        lab.expire_lease()
        assert lab.run().state == "empty"
        lab.each_once()

    def test_full_dead_letters_stop_the_edge_and_lose_nothing(self, lab: Lab) -> None:
        call(lab.redis, "HSET", lab.keys.dead("a.stream_in", "move").counts, "max_len", 0)
        lab.fill(5)
        lab.fill(1, n="many")
        run = lab.run()
        assert (run.state, run.read) == ("full", 0)
        assert "dead letters" in run.error
        call(lab.redis, "HSET", lab.keys.dead("a.stream_in", "move").counts, "max_len", 10)
        assert lab.run().dead == 1
        assert lab.arrived() == [f"m{n}" for n in range(5)]


class TestRefusedRows:
    def test_they_become_dead_letters_with_their_reason_and_the_rest_lands(self, lab: Lab) -> None:
        lab.fill(3)
        lab.fill(1, n="many", note="ä")
        lab.fill(3)
        run = lab.run()
        assert (run.state, run.written, run.dead) == ("empty", 6, 1)
        (letter,) = lab.dead()
        assert letter.pop("_dead_id")
        assert letter == {
            "_dead_reason": "refused",
            "_dead_error": "n (int): many does not read as int (stream b.stream_in)",
            "_dead_attempts": "1",
            "_dead_lane": "main",
            "_mid": "m3",
            "_path": "hub@1",
            "n": "many",
            "note": "ä",
        }
        assert lab.arrived() == ["m0", "m1", "m2", "m4", "m5", "m6"]
        lab.books_balance()

    @pytest.mark.parametrize("when", ["before", "after"])
    @pytest.mark.parametrize(("end", "method"), STEPS)
    def test_they_are_buried_once_whatever_breaks(self, lab: Lab, end: str, method: str, when: str) -> None:
        for n in range(3):
            lab.fill(4)
            lab.fill(1, n=f"bad{n}")
        with pytest.raises(Crash):
            tripped(lab, end, method, when, crash).run()
        lab.expire_lease()
        lab.run()
        assert [letter["n"] for letter in lab.dead()] == ["bad0", "bad1", "bad2"]
        assert len(lab.arrived()) == 12
        lab.books_balance()

    def test_any_number_of_routed_messages_without_a_case_is_no_drift(self, routed: Lab) -> None:
        routed.fill(60, colour="green")
        run = routed.run()
        assert (run.state, run.dead) == ("empty", 60)

    def test_a_routed_message_without_a_case_is_one(self, routed: Lab) -> None:
        routed.fill(2, colour="red")
        routed.fill(1, colour="green")
        routed.fill(1, colour="blue")
        assert routed.run().dead == 1
        assert routed.dead()[0]["_dead_error"] == "colour: no case of the route is for green, and it has no `other`"
        assert sorted(routed.arrived()) == ["m0", "m1", "m3"]

    def test_an_entry_of_another_program_is_named_by_its_place(self, lab: Lab) -> None:
        id_ = lab.append_raw(b"n", b"5").decode()
        lab.run()
        assert lab.arrived() == [f"a.stream_in/{id_}"]

    def test_an_entry_too_large_to_copy_is_buried_and_not_in_the_way(self, lab: Lab) -> None:
        lab.append_raw(*(part for n in range(4000) for part in (b"f%d" % n, b"x")))
        lab.fill(1)
        run = lab.run()
        assert (run.state, run.dead, run.written) == ("empty", 1, 1)
        assert lab.arrived() == ["m0"]
        (letter,) = lab.dead()
        assert letter["_dead_error"].startswith("n (int):")
        assert "_dead_packed" in letter


class TestReplay:
    def test_a_mended_message_comes_back_through_the_retry_lane(self, both_redis_url: str) -> None:
        lab = Lab(both_redis_url, ROUTED)
        lab.fill(2, colour="green")
        lab.append_raw(b"colour", b"green")
        lab.run()
        letters = lab.dead()
        assert [letter.get("_mid") for letter in letters] == ["m0", "m1", None]
        mended = Lab(both_redis_url, ROUTED.replace("cases: {", "cases: {green: blue.stream_in, "))
        assert replay(mended) == 3
        run = mended.run(lane="retry")
        assert (run.state, run.read, run.written) == ("empty", 3, 3)
        assert mended.arrived() == ["m0", "m1", f"a.stream_in/{letters[2]['_dead_id']}"]
        first = as_dict(mended.entries("blue.stream_in")[0])
        assert first.keys() == {"_mid", "_path", "n", "colour"}
        assert mended.dead() == []

    def test_one_that_still_does_not_fit_is_buried_again(self, redis_url: str) -> None:
        lab = Lab(redis_url, batch=40)
        lab.fill(30, n="many")
        assert lab.run().state == "paused"
        lab.source().resume(bury=True)
        assert lab.run().dead == 30
        for _ in range(2):
            assert replay(lab) == 30
            run = lab.run(lane="retry")
            assert (run.state, run.dead) == ("empty", 30), "replayed letters never pause an edge"
            assert [letter["_mid"] for letter in lab.dead()] == [f"m{n}" for n in range(30)]

    @pytest.mark.parametrize("when", ["before", "after"])
    @pytest.mark.parametrize(("end", "method"), [step for step in STEPS if step[0] == "source"])
    def test_the_retry_lane_keeps_the_same_promise(self, routed: Lab, end: str, method: str, when: str) -> None:
        routed.fill(15, colour="green")
        routed.source().resume(bury=True)
        routed.run()
        mended = Lab(routed.redis_url, ROUTED.replace("cases: {", "cases: {green: red.stream_in, "))
        assert replay(mended) == 15
        wire = Tripwire(mended.source("retry"), method, when, crash)
        with pytest.raises(Crash):
            mended.runner(source=wire).run()
        mended.expire_lease("retry")
        mended.run(lane="retry")
        assert mended.arrived() == [f"m{n}" for n in range(15)]


def replay(lab: Lab) -> int:
    """Put all dead letters of the edge back."""
    return DeadLetters(lab.redis, lab.keys, lab.edge.source, lab.edge.name).replay_all()


class TestDrift:
    def test_many_bad_rows_pause_the_edge_and_nothing_is_sent_or_buried(self, redis_url: str) -> None:
        lab = Lab(redis_url, batch=40)
        lab.fill(9)
        lab.fill(11, n="many")
        run = lab.run()
        assert (run.state, run.read, lab.arrived(), lab.dead()) == ("paused", 0, [], [])
        assert "11 of 20 messages do not fit" in run.error
        assert "11 x n (int): many does not read as int" in run.error
        assert "open_seq" not in lab.lane_state()
        (alarm,) = alarms(lab.redis, lab.keys)
        assert (alarm.kind, alarm.subject, alarm.text) == ("edge-paused", "move", run.error)
        assert lab.run().state == "paused"
        (entry,) = history.read(lab.redis, lab.keys, 10)
        assert (entry.who, entry.what, entry.subject) == ("edge move", "edge pause", "move")
        assert entry.facts == {"reason": run.error}

    @pytest.mark.parametrize(("good", "bad"), [(10, 10), (1, 18)], ids=["half of them", "fewer than twenty"])
    def test_fewer_do_not(self, redis_url: str, good: int, bad: int) -> None:
        lab = Lab(redis_url, batch=40)
        lab.fill(good)
        lab.fill(bad, n="many")
        assert (lab.run().state, len(lab.dead())) == ("empty", bad)

    def test_after_the_flow_was_mended_it_goes_on(self, redis_url: str) -> None:
        lab = Lab(redis_url, batch=40)
        lab.fill(30, n="many")
        assert lab.run().state == "paused"
        mended = Lab(redis_url, NET.replace("n: int", "n: str"))
        assert mended.source().resume()
        assert mended.run().written == 30

    def test_a_person_may_have_them_buried(self, redis_url: str) -> None:
        lab = Lab(redis_url, batch=40)
        lab.fill(30, n="many")
        assert lab.run().state == "paused"
        assert lab.source().resume(bury=True)
        assert lab.run().dead == 30
        lab.fill(30, n="many")
        assert lab.run().state == "paused", "said of what was there then, not of what came later"


class TestLostState:
    def test_a_lost_group_is_made_again_where_it_stood(self, both_redis_url: str) -> None:
        text = NET.replace("edges:", "workers:\n  w: {from: a.stream_in, handler: 'm:f'}\nedges:")
        lab = Lab(both_redis_url, text)
        lab.fill(15)
        lab.run(max_batches=1)
        call(lab.redis, "XGROUP", "DESTROY", lab.keys.stream("a.stream_in").stream, "move")
        assert lab.run().state == "empty"
        assert lab.arrived() == [f"m{n}.move.0" for n in range(15)]
        assert [alarm.kind for alarm in alarms(lab.redis, lab.keys)] == ["group-lost"]

    def test_a_group_lost_in_mid_batch_is_too(self, lab: Lab) -> None:
        lab.fill(15)
        key = lab.keys.stream("a.stream_in").stream
        runner = tripped(lab, "sink", "write", "after", lambda: call(lab.redis, "XGROUP", "DESTROY", key, "move"))
        assert runner.run().state == "empty"
        lab.each_once()

    def test_a_flow_that_is_not_applied_is_waited_for(self, lab: Lab) -> None:
        call(lab.redis, "FLUSHDB")
        run = lab.run()
        assert (run.state, run.read) == ("undeclared", 0)
        assert "dataflow apply" in run.error
        lab.declare()
        lab.fill(5)
        assert lab.run().read == 5

    def test_a_key_that_holds_something_else_is_told_and_nothing_is_lost(self, lab: Lab) -> None:
        lab.fill(15)
        counts = lab.keys.stream("b.stream_in").counts
        kept = call(lab.redis, "DUMP", counts)
        call(lab.redis, "SET", counts, "something else")
        run = lab.run()
        assert (run.state, run.read) == ("failed", 0)
        assert counts in run.error
        call(lab.redis, "RESTORE", counts, 0, kept, "REPLACE")
        assert lab.run().state == "empty"
        lab.each_once()
