"""The loop on a real Redis: every message is finished once, whatever becomes of it."""

from __future__ import annotations

import gc
import re
import threading
import time
from collections import Counter
from collections.abc import Callable, Collection
from dataclasses import replace
from typing import Any

import pytest

from dataflow.errors import NotDeclared, OutcomeUnknown, ServerAway, StreamFull
from dataflow.handler import Reject, Retry, To
from dataflow.store import hop as hop_module
from dataflow.store.deadletters import DeadLetters
from dataflow.store.declare import declare
from dataflow.store.hop import Hop
from dataflow.store.outcomes import Entry, Finished, Park
from dataflow.store.redis import call, connect
from dataflow.testing.servers import RedisServer
from tests.workers.rig import IN, LEASE_S, NAME, OUT, SIDE, Rig, until
from workers import intake
from workers.garbage import OBJECTS_OF_MESSAGE
from workers.handlers.calls import PerMessage
from workers.pulse import Stage
from workers.task import Results

pytestmark = pytest.mark.integration

Message = dict[str, Any]
MakeRig = Callable[..., Rig]


def same(message: Message) -> Message:
    return {"n": message["n"]}


class Strange(dict[str, Any]):
    """A message that cannot be looked at."""

    def __iter__(self) -> Any:
        raise RuntimeError("strange")


class LosesReplies:
    """A hop whose answers get lost: what was asked has happened."""

    def __init__(self, hop: Hop, *calls: str, times: int = 1) -> None:
        self._hop, self._left = hop, dict.fromkeys(calls, times)

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._hop, name)

        def call(*args: Any, **kwargs: Any) -> Any:
            answer = method(*args, **kwargs)
            if self._left.get(name, 0) and answer:
                self._left[name] -= 1
                raise OutcomeUnknown
            return answer

        return call


class TestHandled:
    """What a handler returns is written once."""

    def test_one_to_one_keeps_ids_and_order(self, straight: Rig) -> None:
        straight.put(range(1200))
        straight.work(same)
        assert straight.out() == list(range(1200))
        assert straight.mids() == [f"m{n}" for n in range(1200)]
        assert straight.group().handled == 1200
        assert straight.pulse.stage is Stage.PROVEN

    def test_the_path_grows(self, straight: Rig) -> None:
        straight.put([1])
        straight.work(same)
        hub, _, hop = straight.messages()[0].path.partition(">")
        assert hub == "hub@1"
        node, _, at_ms = hop.partition("@")
        assert node == NAME
        assert abs(int(at_ms) - time.time() * 1000) < 60_000

    def test_several_messages_out_of_one_are_its_children(self, straight: Rig) -> None:
        straight.put([1, 2])
        straight.work(lambda message: [{"n": message["n"]}, {"n": message["n"] * 10}])
        assert straight.out() == [1, 10, 2, 20]
        assert straight.mids() == ["m1.work.0", "m1.work.1", "m2.work.0", "m2.work.1"]

    def test_with_two_targets_ids_tell_the_way(self, rig: Rig) -> None:
        rig.put([1])
        rig.work(lambda message: [To(OUT, same(message)), To(SIDE, same(message)), To(OUT, same(message))])
        assert rig.mids(OUT) == ["m1.work.0", "m1.work.2"]
        assert rig.mids(SIDE) == ["m1.work.1"]

    def test_with_two_readers_messages_get_children(self, make_rig: MakeRig) -> None:
        other = '  other: {from: in.stream_in, to: side.stream_out, handler: "steps:handle"}'
        rig = make_rig(to=[OUT], workers=other)
        rig.put([1])
        rig.work(same)
        assert rig.mids() == ["m1.work.0"]

    def test_none_is_filtered_and_counted(self, rig: Rig) -> None:
        rig.put(range(10))
        rig.work(lambda message: same(message) if message["n"] % 2 else None)
        group = rig.group()
        assert (group.handled, group.filtered, group.out) == (5, 5, 5)
        assert rig.out() == [1, 3, 5, 7, 9]

    def test_an_empty_list_is_handled_without_output(self, rig: Rig) -> None:
        rig.put(range(3))
        rig.work(lambda message: [])
        assert (rig.group().handled, rig.group().out) == (3, 0)

    def test_a_worker_without_targets_counts_as_well(self, make_rig: MakeRig) -> None:
        rig = make_rig(to=[])
        rig.put(range(3))
        rig.work(lambda message: None if message["n"] else same(message))
        assert rig.group().filtered == 2
        assert [letter.reason for letter in rig.dead()] == ["bad_output"]

    def test_types_and_nulls_reach_the_handler(self, rig: Rig) -> None:
        seen: list[Message] = []
        rig.put([5], text=None)
        rig.put([6], text="x")
        rig.work(lambda message: seen.append(message))
        assert seen == [{"n": 5, "text": None}, {"n": 6, "text": "x"}]

    def test_entries_of_other_programs_get_an_id(self, straight: Rig) -> None:
        straight.put_raw(b"n", b"7")
        id_ = call(straight.redis, "XRANGE", straight.keys.stream(IN).stream, "-", "+")[0][0].decode()
        straight.work(same)
        assert straight.mids() == [f"{IN}/{id_}"]

    def test_batches(self, make_rig: MakeRig) -> None:
        rig = make_rig(to=[OUT], more="batch_handler: list, batch: 100")
        sizes: list[int] = []

        def handle(messages: list[Message]) -> list[Message]:
            sizes.append(len(messages))
            return [same(message) for message in messages]

        rig.put(range(250))
        rig.work(rig.batches(handle))
        assert sizes == [100, 100, 50]
        assert rig.mids() == [f"m{n}" for n in range(250)]

    def test_an_aggregate_is_one_message_of_its_own(self, make_rig: MakeRig) -> None:
        rig = make_rig(to=[OUT], more="batch_handler: list, batch: 100, aggregate: true")
        rig.put(range(200))
        rig.work(rig.batches(lambda messages: {"n": sum(message["n"] for message in messages)}, aggregate=True))
        assert rig.out() == [sum(range(100)), sum(range(100, 200))]
        assert rig.mids() == ["m0.work.0", "m100.work.0"]
        assert (rig.group().handled, rig.group().out) == (200, 2)


class TestFailed:
    """A message that fails costs itself only."""

    def test_a_reject_is_dead_at_once(self, rig: Rig) -> None:
        calls: list[int] = []

        def handle(message: Message) -> Message:
            calls.append(message["n"])
            if message["n"] == 3:
                raise Reject("three is not for us")
            return same(message)

        rig.put(range(6))
        rig.work(handle)
        assert sorted(rig.out()) == [0, 1, 2, 4, 5]
        (letter,) = rig.dead()
        assert (letter.reason, letter.error, letter.attempts) == ("rejected", "three is not for us", 1)
        assert (letter.mid, letter.fields) == ("m3", {"n": "3"})
        assert sorted(calls) == [0, 1, 2, 3, 4, 5]

    def test_a_failing_message_backs_off_and_dies_with_its_traceback(self, rig: Rig) -> None:
        calls: list[int] = []

        def handle(message: Message) -> Message:
            calls.append(message["n"])
            return {"n": 10 // message["n"]}

        rig.put([1, 0, 2])
        rig.work(handle)
        assert sorted(rig.out()) == [5, 10]
        (letter,) = rig.dead()
        assert (letter.reason, letter.attempts) == ("failed", 3)
        assert "Traceback" in letter.error
        assert letter.error.endswith("ZeroDivisionError: integer division or modulo by zero")
        assert calls.count(0) == 3

    def test_a_message_that_recovers_is_handled(self, rig: Rig) -> None:
        calls: list[int] = []

        def handle(message: Message) -> Message:
            calls.append(message["n"])
            if len(calls) < 3:
                raise OSError("not yet")
            return same(message)

        rig.put([7])
        rig.work(handle)
        assert (rig.out(), rig.dead(), len(calls)) == ([7], [], 3)

    def test_a_retry_uses_no_attempt_up(self, straight: Rig) -> None:
        attempts: list[int] = []

        class Handle:
            def handle(self, tasks: Any, pace: Any) -> Any:
                attempts.extend(task.attempt for task in tasks)
                return inner.handle(tasks, pace)

            def close(self) -> None: ...

        def put_off(message: Message) -> Message:
            if len(attempts) < 12:
                raise Retry(0.001)
            return same(message)

        inner = straight.batches(lambda messages: [put_off(message) for message in messages])
        straight.put([7])
        straight.work(Handle())
        assert attempts == [1] * 12
        assert straight.mids() == ["m7"]

    def test_a_retry_waits_as_long_as_it_said(self, rig: Rig) -> None:
        at: list[float] = []

        def handle(message: Message) -> Message:
            at.append(time.monotonic())
            if len(at) == 1:
                raise Retry(0.3)
            return same(message)

        rig.put([7])
        rig.work(handle)
        assert at[1] - at[0] >= 0.29

    def test_a_retry_for_ever_ends_among_the_dead_letters(self, make_rig: MakeRig) -> None:
        rig = make_rig(to=[OUT], more="max_retry_s: 0.5")
        at: list[float] = []

        def handle(message: Message) -> Message:
            if message["n"] == 7:
                at.append(time.monotonic())
                raise Retry(0.1, "the service is away")
            return same(message)

        rig.put([7, 8])
        rig.work(handle)
        (letter,) = rig.dead()
        assert (letter.reason, "the service is away" in letter.error, letter.fields) == (
            "retried_too_long", True, {"n": "7"},
        )  # fmt: skip
        assert len(at) >= 3 and 0.49 <= at[-1] - at[0] < 5.0, "it is tried until its time is over, and then once more"
        assert rig.out() == [8]

    def test_nothing_new_is_read_while_too_much_waits_to_come_back(
        self, make_rig: MakeRig, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("dataflow.store.hop.MAX_COMING_BACK", 10)
        monkeypatch.setattr("dataflow.store.hop.LOOK_S", 0.0)
        rig = make_rig(to=[OUT], more="batch: 10")
        tries: Counter[int] = Counter()

        def never(message: Message) -> Message:
            if message["n"] < 30:  # the worker comes to ask for its batches ahead
                return same(message)
            tries[message["n"]] += 1
            raise Retry(0.02)

        def tried_often() -> bool:
            rig.hop().wake()
            return tries.total() >= 150

        rig.put(range(230))
        rig.loop(PerMessage(lambda task: never(task.message), lambda: None), until(tried_often)).run()
        assert 10 <= len(tries) <= 30, "a batch in hand and one on its way are all that is read beyond the limit"
        rig.work(same)
        assert sorted(rig.out()) == list(range(230))

    def test_a_replayed_message_has_all_its_time_again(self, make_rig: MakeRig) -> None:
        rig = make_rig(to=[OUT], more="max_retry_s: 0.3")

        def always(message: Message) -> Message:
            raise Retry(0.1)

        rig.put([7])
        rig.work(always)
        (letter,) = rig.dead()
        rig.replay()
        calls: list[int] = []

        def twice(message: Message) -> Message:
            calls.append(1)
            if len(calls) < 2:
                raise Retry(0.05)
            return same(message)

        rig.work(twice)
        assert (rig.out(), rig.mids(), rig.dead()) == ([7], [letter.mid], [])

    @pytest.mark.parametrize("hours", [-1, 1])
    def test_a_wrong_clock_on_this_machine_moves_no_back_off(
        self, rig: Rig, monkeypatch: pytest.MonkeyPatch, hours: int
    ) -> None:
        wrong = time.time_ns() + hours * 3600 * 10**9
        monkeypatch.setattr("workers.loop.time.time_ns", lambda: wrong)
        at: list[float] = []

        def handle(message: Message) -> Message:
            at.append(time.monotonic())
            if len(at) == 1:
                raise Retry(0.3)
            return same(message)

        rig.put([7])
        rig.work(handle)
        assert 0.29 <= at[1] - at[0] < 10.0

    def test_others_go_on_while_one_backs_off(self, rig: Rig) -> None:
        def handle(message: Message) -> Message:
            if message["n"] == 0 and len(rig.out()) < 500:
                raise Retry(0.05)
            return same(message)

        rig.put(range(501))
        rig.work(handle)
        assert rig.out()[-1] == 0
        assert rig.group().handled == 501

    def test_a_failing_batch_is_split_and_the_culprit_alone_suffers(self, make_rig: MakeRig) -> None:
        rig = make_rig(to=[OUT], more="batch_handler: list, batch: 50")
        sizes: list[int] = []

        def handle(messages: list[Message]) -> list[Message]:
            sizes.append(len(messages))
            if any(message["n"] == 30 for message in messages):
                raise ValueError("thirty")
            return [same(message) for message in messages]

        rig.put(range(100))
        rig.work(rig.batches(handle))
        assert sorted(rig.out()) == [n for n in range(100) if n != 30]
        assert [(letter.mid, letter.reason, letter.attempts) for letter in rig.dead()] == [("m30", "failed", 3)]
        assert sizes[:51] == [50] + [1] * 50
        assert 50 in sizes[51:]
        assert call(rig.redis, "EXISTS", rig.keys.attempts(IN, NAME)) == 0

    def test_single_messages_of_a_batch_are_refused_without_splitting_it(self, make_rig: MakeRig) -> None:
        rig = make_rig(to=[OUT], more="batch_handler: list, batch: 50")
        sizes: list[int] = []

        def handle(messages: list[Message]) -> list[Any]:
            sizes.append(len(messages))
            return [Reject("odd") if message["n"] % 2 else same(message) for message in messages]

        rig.put(range(50))
        rig.work(rig.batches(handle))
        assert sizes == [50]
        assert len(rig.dead()) == 25

    @pytest.mark.parametrize("fields", [(b"n", b"seven"), (b"m", b"7"), (b"n", b"\xff"), (b"n", b"7", b"n", b"8")])
    def test_an_entry_that_cannot_be_read_is_dead(self, rig: Rig, fields: tuple[bytes, ...]) -> None:
        rig.put([1])
        rig.put_raw(*fields)
        rig.put([2])
        rig.work(same)
        assert sorted(rig.out()) == [1, 2]
        (letter,) = rig.dead()
        assert (letter.reason, letter.attempts) == ("invalid", 1)

    @pytest.mark.parametrize("origin", [b"\xff\xfe", b"", b"main/1-0/2"])
    def test_our_own_names_in_strange_entries_do_no_harm(self, rig: Rig, origin: bytes) -> None:
        rig.put_raw(b"_origin", origin, b"n", b"7")
        rig.work(same)
        assert rig.out() == [7]

    @pytest.mark.parametrize(
        ("output", "told"),
        [
            ({"n": "seven"}, "'n'"),
            ({"other": 1}, "'n'"),
            ({"n": 1, "_mid": "x"}, "'_mid'"),
            ({"n": 1, "nested": {}}, "'nested'"),
            (To("nowhere", {"n": 1}), "is not among the worker's targets"),
            (To(OUT, "text"), "not text"),  # type: ignore[arg-type]
            (To(OUT, None), "does not fit"),  # type: ignore[arg-type]
            (Strange(n=1), "cannot be read: RuntimeError: strange"),
            ("text", "expected a dict"),
        ],
    )
    def test_output_that_does_not_fit_is_dead(self, rig: Rig, output: Any, told: str) -> None:
        rig.put([1, 2])
        rig.work(lambda message: output if message["n"] == 1 else same(message))
        assert rig.out() == [2]
        (letter,) = rig.dead()
        assert (letter.reason, letter.mid) == ("bad_output", "m1")
        assert told in letter.error

    def test_more_messages_out_of_one_than_ever_fit_are_dead(self, make_rig: MakeRig) -> None:
        rig = make_rig(to=[OUT, SIDE], max_len=500, more="batch: 250")
        rig.put([1, 2])
        rig.work(lambda message: [{"n": i} for i in range(501 if message["n"] == 1 else 500)])
        assert len(rig.out()) == 500
        assert "never fit into 'out.stream_out' (max_len 500)" in rig.dead()[0].error

    def test_a_dead_letter_that_is_replayed_comes_to_this_worker_again(self, straight: Rig) -> None:
        straight.put([1])
        straight.work(lambda message: {"n": "not a number"})
        assert DeadLetters(straight.redis, straight.keys, IN, NAME).replay_all() == 1
        straight.work(same)
        assert (straight.mids(), straight.dead()) == (["m1"], [])


class TestFull:
    """A full target is waited for; nothing is lost, and what fits is written."""

    def test_the_worker_waits_and_goes_on_when_there_is_room(self, make_rig: MakeRig) -> None:
        rig = make_rig(to=[OUT], max_len=500, more="batch: 250")
        rig.put(range(1200))
        taken: list[int] = []
        waited: list[StreamFull] = []

        def make_room(error: Any) -> None:
            if isinstance(error, StreamFull):
                waited.append(error)
                taken.extend(rig.drain(90))

        rig.work(same, trouble=make_room)
        assert [*taken, *rig.out()] == list(range(1200))
        assert waited[0].max_len == 500

    def test_a_batch_that_becomes_more_than_the_target_holds_goes_in_parts(self, make_rig: MakeRig) -> None:
        rig = make_rig(to=[OUT], max_len=500, more="batch_handler: list, batch: 250")
        rig.put(range(250))
        taken: list[int] = []

        def make_room(error: Any) -> None:
            if isinstance(error, StreamFull):
                taken.extend(rig.drain())

        rig.work(rig.batches(lambda messages: [[same(m)] * 7 for m in messages]), trouble=make_room)
        assert [*taken, *rig.out()] == [n for n in range(250) for _ in range(7)]

    def test_full_dead_letters_hold_the_worker(self, rig: Rig) -> None:
        rig.put(range(20))
        dead = rig.keys.dead(IN, NAME)
        call(rig.redis, "HSET", dead.counts, "max_len", 5)

        def make_room(error: Any) -> None:
            if isinstance(error, StreamFull):
                assert error.stream == "dead letters of work"
                call(rig.redis, "HINCRBY", dead.counts, "max_len", 5)

        rig.work(lambda message: same(message) if message["n"] < 10 else {"n": None}, trouble=make_room)
        assert (len(rig.out()), len(rig.dead())) == (10, 10)

    def test_a_stop_while_waiting_hands_back_and_counts_no_attempt(self, make_rig: MakeRig) -> None:
        rig = make_rig(to=[OUT], max_len=500, more="batch_handler: list, batch: 250")
        rig.put(range(700))

        def handle(messages: list[Message]) -> list[Message]:
            if len(messages) > 1 and messages[0]["n"] >= 500:
                raise ValueError("run alone")
            return [same(message) for message in messages]

        rig.loop(rig.batches(handle), until(lambda: any(isinstance(e, StreamFull) for e in rig.troubles))).run()
        group = rig.group()
        assert (group.handled, group.pending) == (500, 200)
        assert call(rig.redis, "EXISTS", rig.keys.attempts(IN, NAME)) == 0
        call(rig.redis, "HSET", rig.keys.stream(OUT).counts, "max_len", 5000)
        rig.work(rig.batches(lambda messages: [same(message) for message in messages]))
        assert sorted(rig.out()) == list(range(700))

    def test_one_full_target_holds_the_whole_worker(self, make_rig: MakeRig) -> None:
        rig = make_rig(to=[OUT, SIDE], max_len=500, more="batch: 250")
        rig.put(range(1101))
        rig.loop(
            PerN(lambda n: To(SIDE if n % 2 else OUT, {"n": n})),
            until(lambda: any(isinstance(e, StreamFull) for e in rig.troubles)),
        ).run()
        group = rig.group()
        assert len(rig.out()) == 500
        assert group.handled + group.pending + group.undelivered == 1101
        assert group.out == len(rig.out()) + len(rig.out(SIDE))


class PerN:
    """A handler from a function of n."""

    def __init__(self, function: Callable[[int], Any]) -> None:
        self._function = function

    def handle(self, tasks: Any, pace: Any) -> Any:
        return PerMessage(lambda task: self._function(task.message["n"]), lambda: None).handle(tasks, pace)

    def close(self) -> None: ...


class TestLostReplies:
    """An answer of Redis that gets lost on its way changes nothing."""

    @pytest.mark.parametrize("handler", ["no", "list"])
    @pytest.mark.parametrize("times", [1, 3])
    def test_of_a_read(self, make_rig: MakeRig, handler: str, times: int) -> None:
        rig = make_rig(to=[OUT], more=f"batch_handler: {handler}")
        rig.put(range(100))
        sizes: list[int] = []

        def handle(messages: list[Message]) -> list[Message]:
            sizes.append(len(messages))
            return [same(message) for message in messages]

        rig.work(same if handler == "no" else rig.batches(handle), hop=LosesReplies(rig.hop(), "read", times=times))
        assert rig.out() == list(range(100))
        assert sizes in ([], [100])  # nobody died: no reason to run them one by one

    @pytest.mark.parametrize("lost", ["finish", "begin", "recover", "take_over", "attempts", "hand_back"])
    def test_of_any_other_step(self, rig: Rig, lost: str) -> None:
        rig.hop().read("gone", 10, 1)
        rig.put(range(60))
        rig.hop().read("gone", 20, 1)
        failed: set[int] = set()

        def handle(message: Message) -> Message:
            if message["n"] % 7 == 0 and message["n"] not in failed:
                failed.add(message["n"])
                raise ValueError
            return same(message)

        rig.work(handle, hop=LosesReplies(LosesReplies(rig.hop(), "read"), lost, times=2))
        assert sorted(rig.out()) == list(range(60))

    def test_of_an_inheritance(self, rig: Rig) -> None:
        rig.put(range(30))
        for dead in ("one", "two", "three"):
            rig.hop().read(dead, 10, 1)
        hop = LosesReplies(rig.hop(), "inherit", times=2)
        rig.work(same, hop=hop, predecessors=["one", "two", "three"])
        assert sorted(rig.out()) == list(range(30))
        assert rig.group().handled == 30

    def test_a_server_that_is_away_is_waited_for(self, rig: Rig) -> None:
        rig.put(range(10))

        class Away(LosesReplies):
            def __getattr__(self, name: str) -> Any:
                if self._left.get(name, 0):
                    self._left[name] -= 1
                    raise ServerAway
                return getattr(self._hop, name)

        rig.work(same, hop=Away(rig.hop(), "read", "finish", "take_over", "recover", times=3))
        assert rig.out() == list(range(10))


class LosesAhead:
    """A hop that loses answers to what is only waited for later; or, `away`, takes no such question."""

    def __init__(self, hop: Hop, name: str, *, away: bool) -> None:
        self._hop, self._name, self._away = hop, name, away
        self.asked = 0
        self.lost = 0

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._hop, name)
        if name != self._name:
            return method

        def begin(*args: Any, **options: Any) -> Any:
            self.asked += 1
            if self.asked % 3 != 2:
                return method(*args, **options)
            self.lost += 1
            if self._away:
                raise ServerAway
            return self._lose(method(*args, **options))

        return begin

    def _lose(self, wait: Any) -> Any:
        def lose() -> None:
            wait()
            raise OutcomeUnknown

        return lose


class TestUnderLoad:
    """A batch is settled while the next one is read and handled."""

    @pytest.mark.parametrize("away", [False, True])
    @pytest.mark.parametrize("name", ["begin_read", "begin_finish"])
    def test_answers_that_get_lost_cost_nothing(self, make_rig: MakeRig, name: str, away: bool) -> None:
        rig = make_rig(to=[OUT], more="batch_handler: list, batch: 20")
        rig.put(range(400))
        calls: Counter[int] = Counter()

        def handle(messages: list[Message]) -> list[Message]:
            calls.update(message["n"] for message in messages)
            return [same(message) for message in messages]

        hop = LosesAhead(rig.hop(), name, away=away)
        rig.work(rig.batches(handle), hop=hop)
        assert sorted(rig.out()) == list(range(400))
        assert rig.group().handled == 400
        assert hop.lost >= 3
        assert set(calls.values()) == {1}  # what is being settled is never taken for lost

    def test_most_batches_are_not_looked_at_one_by_one(self, make_rig: MakeRig) -> None:
        rig = make_rig(to=[OUT], more="batch_handler: list, batch: 20")
        rig.put(range(400))
        call(rig.redis, "CONFIG", "RESETSTAT")
        rig.work(rig.batches(lambda messages: [same(message) for message in messages]))
        assert rig.out() == list(range(400))
        stats: bytes = call(rig.redis, "INFO", "commandstats")
        (acknowledged,) = re.findall(rb"cmdstat_xack:calls=(\d+)", stats)
        assert int(acknowledged) <= 3  # the first, of which no one knew that it would be full, and the last
        (names,) = re.findall(rb"cmdstat_xgroup\|delconsumer:calls=(\d+)|cmdstat_xgroup:calls=(\d+)", stats)
        assert int(b"".join(names)) >= 17
        at = rig.keys.stream(IN).stream
        assert call(rig.redis, "XINFO", "CONSUMERS", at, NAME) == []

    def test_what_comes_back_is_read_under_any_load(self, make_rig: MakeRig) -> None:
        """Questions ahead are about the main lane alone. Where a retry is found, none is asked until no more are."""
        rig = make_rig(to=[OUT], more="batch_handler: list, batch: 20")
        rig.put(range(-100, 0))
        other = rig.hop()
        other.finish("other", [(entry, Park(1, 0)) for entry in other.read("other", 100, 0)])
        rig.put(range(100))
        batches: list[list[int]] = []

        def handle(messages: list[Message]) -> list[None]:
            batches.append([message["n"] for message in messages])
            fresh = sum(number >= 0 for number in batches[-1])
            rig.put(range(100, 100 + fresh))  # the load never ends
            if len(batches) == 5:
                assert other.wake() == 100
            return [None] * len(messages)

        def back() -> list[int]:
            return [at for at, numbers in enumerate(batches) if numbers[0] < 0]

        rig.loop(rig.batches(handle), until(lambda: len(back()) >= 5, 10)).run()
        assert back()[4] - back()[0] <= 10

    def test_nothing_is_asked_ahead_while_a_suspect_is_in_hand(self, make_rig: MakeRig) -> None:
        """Should the process die of it, it is the only one that is suspect."""
        rig = make_rig(to=[OUT], more="batch_handler: list, batch: 20")
        rig.put([-1])
        rig.hop().read("gone", 1, 0)
        rig.put(range(200))
        held: list[int] = []

        def handle(messages: list[Message]) -> list[None]:
            if messages[0]["n"] < 0:
                held.append(rig.group().pending)
            elif not held:
                rig.put(range(len(messages)))  # the load goes on until the lease of that one has run out
            return [None] * len(messages)

        rig.work(rig.batches(handle))
        assert held == [1]

    def test_a_full_target_is_waited_for(self, make_rig: MakeRig) -> None:
        rig = make_rig(to=[OUT], more="batch_handler: list, batch: 20", max_len=50)
        rig.put(range(400))
        found: list[int] = []

        def handle(messages: list[Message]) -> list[Message]:
            return [same(message) for message in messages]

        def stopping() -> bool:
            found.extend(rig.drain())
            return rig.idle() and not rig.out()

        rig.loop(rig.batches(handle), until(stopping)).run()
        assert found == list(range(400))
        rig.check()

    def test_a_stop_hands_back_what_was_asked_for_ahead(self, make_rig: MakeRig) -> None:
        rig = make_rig(to=[OUT], more="batch_handler: list, batch: 20")
        rig.put(range(400))
        batches: list[int] = []

        def handle(messages: list[Message]) -> list[Message]:
            batches.append(len(messages))
            return [same(message) for message in messages]

        rig.loop(rig.batches(handle), lambda: len(batches) >= 5).run()
        assert rig.out() == list(range(100))
        group = rig.group()
        assert (group.handled, group.waiting) == (100, 300)
        rig.work(rig.batches(handle))
        assert sorted(rig.out()) == list(range(400))

    @pytest.mark.parametrize(("takes_s", "most"), [(0.0, range(21, 61)), (0.12, [20])])
    def test_only_who_is_quick_holds_more_than_it_handles(
        self, make_rig: MakeRig, takes_s: float, most: Collection[int]
    ) -> None:
        rig = make_rig(to=[OUT], more="batch_handler: list, batch: 20")
        rig.put(range(200))
        held: list[int] = []

        def handle(messages: list[Message]) -> list[Message]:
            time.sleep(takes_s)
            held.append(rig.group().pending)
            return [same(message) for message in messages]

        rig.work(rig.batches(handle))
        assert rig.out() == list(range(200))
        assert max(held) in most  # it, the next one, and the one before, which may not be settled yet

    def test_what_others_have_left_is_taken_over_all_the_same(self, make_rig: MakeRig) -> None:
        rig = make_rig(to=[OUT], more="batch_handler: list, batch: 20")
        rig.put(range(5))
        rig.hop().read("gone", 5, 0)
        rig.put(range(5, 105))
        seen: set[int] = set()

        def handle(messages: list[Message]) -> list[Message]:
            if not seen >= set(range(5)):
                rig.put(range(105 + len(seen), 125 + len(seen)))
            seen.update(message["n"] for message in messages)
            rig.drain()
            return [same(message) for message in messages]

        rig.loop(rig.batches(handle), until(lambda: seen >= set(range(5)), 10)).run()

    def test_the_collector_of_garbage_does_not_count_the_batch(self, make_rig: MakeRig) -> None:
        rig = make_rig(to=[OUT], more="batch_handler: list, batch: 20")
        rig.put(range(20))
        usual, found = gc.get_threshold()[0], set()

        def handle(messages: list[Message]) -> list[Message]:
            found.add(gc.get_threshold()[0])
            return [same(message) for message in messages]

        try:
            rig.work(rig.batches(handle))
        finally:
            gc.set_threshold(usual)
        assert found == {usual + 20 * OBJECTS_OF_MESSAGE}

    @pytest.mark.parametrize("name", ["me", "me#7"])
    def test_a_question_that_reaches_its_redis_late(
        self, make_rig: MakeRig, monkeypatch: pytest.MonkeyPatch, name: str
    ) -> None:
        """What it makes pending for the worker, the worker does not know of."""
        rig = make_rig(to=[OUT], more="batch_handler: list, batch: 20")
        rig.worker = replace(rig.worker, lease_s=600)  # a parent would renew it
        rig.put(range(10))
        late = ("XREADGROUP", "GROUP", NAME, name, "COUNT", 5, "STREAMS", rig.keys.stream(IN).stream, ">")
        send, calls = hop_module.send, 0

        def losing(*args: Any, **options: Any) -> Any:
            monkeypatch.setattr(hop_module, "send", send)
            raise OutcomeUnknown("it is still on its way")

        def handle(messages: list[Message]) -> list[Message]:
            nonlocal calls
            calls += 1
            if calls <= 3:  # the first makes connections, after each of which all that is pending is asked for
                rig.put(range(10 * calls, 10 * calls + 10))
                call(rig.redis, *(late if calls == 3 else ["PING"]))
            return [same(message) for message in messages]

        monkeypatch.setattr(hop_module, "send", losing)
        rig.work(rig.batches(handle), consumer="me")
        assert sorted(rig.out()) == list(range(40))

    def test_what_its_redis_has_forgotten_runs_again(self, own_redis: RedisServer) -> None:
        """Redis loses its last second while a handler is at it, and the worker is connected anew without noticing."""
        rig = Rig(own_redis.url, to=[OUT], more="batch_handler: list, batch: 20")
        rig.worker = replace(rig.worker, lease_s=600)  # a parent would renew it
        rig.put(range(100))
        calls: list[list[int]] = []
        cuts: list[int] = []

        def handle(messages: list[Message]) -> list[Message]:
            calls.append([message["n"] for message in messages])
            cuts.append(own_redis.log_bytes())
            if len(calls) == 3:
                own_redis.restart_cut_at(cuts[0])
            return [same(message) for message in messages]

        rig.work(rig.batches(handle))
        assert sorted(rig.out()) == list(range(100))
        assert rig.group().handled == 100
        assert len(calls) > 5
        rig.check()
        rig.close()


class TestFence:
    """An entry that another process has taken over is written by that process only."""

    def steal(self, rig: Rig, *ids: bytes) -> None:
        call(rig.redis, "XCLAIM", rig.keys.stream(IN).stream, NAME, "thief", 0, *ids)

    def ids(self, rig: Rig) -> list[bytes]:
        return [id_ for id_, _ in call(rig.redis, "XRANGE", rig.keys.stream(IN).stream, "-", "+")]

    def test_what_was_taken_over_during_the_handler_is_not_written(self, rig: Rig) -> None:
        rig.put(range(10))
        ids = self.ids(rig)

        def handle(message: Message) -> Message:
            if message["n"] == 5:
                self.steal(rig, ids[3], ids[7])
            return same(message)

        left = until(lambda: rig.group().handled == 8)
        rig.loop(PerN(lambda n: handle({"n": n})), left).run()
        assert rig.out() == [0, 1, 2, 4, 5, 6, 8, 9]
        rig.work(same, predecessors=["thief"])
        assert sorted(rig.out()) == list(range(10))

    def test_an_aggregate_is_written_whole_or_not_at_all(self, make_rig: MakeRig) -> None:
        rig = make_rig(to=[OUT], more="batch_handler: list, batch: 10, aggregate: true")
        rig.put(range(10))
        ids = self.ids(rig)
        calls: list[int] = []

        def handle(messages: list[Message]) -> Message:
            calls.append(len(messages))
            if len(calls) == 1:
                self.steal(rig, ids[4])
            return {"n": sum(message["n"] for message in messages)}

        rig.worker = replace(rig.worker, lease_s=600)
        rig.loop(rig.batches(handle, aggregate=True), until(lambda: rig.group().handled > 0)).run()
        assert (calls, rig.out(), rig.group().handled) == ([10, 9], [sum(range(10)) - 4], 9)  # the others run again
        rig.work(rig.batches(handle, aggregate=True), predecessors=["thief"])
        assert sum(rig.out()) == sum(range(10))
        assert rig.group().handled == 10

    def test_what_was_taken_over_before_it_ran_alone_does_not_run(self, rig: Rig) -> None:
        rig.put([1, 2])
        rig.hop().read("dead", 10, 1)
        ids = self.ids(rig)
        calls: list[int] = []

        def handle(message: Message) -> Message:
            calls.append(message["n"])
            if message["n"] == 1:
                self.steal(rig, ids[1])
            return same(message)

        rig.loop(PerN(lambda n: handle({"n": n})), until(lambda: rig.group().handled == 1), predecessors=["dead"]).run()
        assert (calls, rig.out()) == ([1], [1])
        rig.work(same, predecessors=["thief"])
        assert sorted(rig.out()) == [1, 2]

    def test_two_loops_that_take_each_other_over_write_everything_once(self, rig: Rig) -> None:
        """A handler that is slower than the lease, which nobody renews."""
        rig.put(range(20))
        other: list[int] = []

        def slow(message: Message) -> Message:
            if not other:
                other.append(1)
                time.sleep(LEASE_S + 0.1)
                rig.loop(PerN(lambda n: {"n": n}), until(lambda: rig.group().waiting == 0)).run()
            return same(message)

        rig.work(slow)
        assert sorted(rig.out()) == list(range(20))
        assert rig.group().handled == 20


class TestSuspects:
    """What a process may have died of runs alone."""

    def crashed(self, rig: Rig, n: int, times: int) -> None:
        """Entry n was begun alone and not finished, so often."""
        (entry,) = [e for e in rig.hop().recover("dead") if e.fields[e.fields.index(b"n") + 1] == b"%d" % n]
        for _ in range(times):
            assert rig.hop().begin("dead", entry)

    def test_each_runs_alone_before_anything_new(self, make_rig: MakeRig) -> None:
        rig = make_rig(to=[OUT], more="batch_handler: list, batch: 10")
        rig.put(range(25))
        rig.hop().read("dead", 5, 1)
        sizes: list[int] = []

        def handle(messages: list[Message]) -> list[Message]:
            sizes.append(len(messages))
            return [same(message) for message in messages]

        rig.work(rig.batches(handle), predecessors=["dead"])
        assert sizes == [1, 1, 1, 1, 1, 10, 10]
        assert rig.out() == list(range(25))

    def test_the_culprit_is_put_off_and_the_others_go_on(self, rig: Rig) -> None:
        rig.put(range(5))
        rig.hop().read("dead", 10, 1)
        self.crashed(rig, 2, times=1)
        calls: list[int] = []

        def handle(message: Message) -> Message:
            calls.append(message["n"])
            return same(message)

        rig.work(handle, predecessors=["dead"])
        assert calls == [0, 1, 3, 4, 2]
        assert rig.dead() == []

    def test_the_culprit_dies_of_too_many_crashes(self, rig: Rig) -> None:
        rig.put(range(3))
        rig.hop().read("dead", 10, 1)
        self.crashed(rig, 1, times=3)
        rig.work(same, predecessors=["dead"])
        assert rig.out() == [0, 2]
        assert [(letter.mid, letter.reason, letter.attempts) for letter in rig.dead()] == [("m1", "crashed", 3)]
        assert call(rig.redis, "EXISTS", rig.keys.attempts(IN, NAME)) == 0

    def test_a_lease_that_has_run_out_is_taken_over(self, make_rig: MakeRig) -> None:
        rig = make_rig(to=[OUT], more="batch_handler: list")
        rig.put(range(5))
        rig.hop().read("dead", 10, 1)
        sizes: list[int] = []

        def handle(messages: list[Message]) -> list[Message]:
            sizes.append(len(messages))
            return [same(message) for message in messages]

        start = time.monotonic()
        rig.work(rig.batches(handle))
        assert time.monotonic() - start >= 0.8 * LEASE_S
        assert (sizes, rig.out()) == ([1] * 5, list(range(5)))

    def test_what_was_handed_back_is_taken_at_once_and_together(self, make_rig: MakeRig) -> None:
        rig = make_rig(to=[OUT], more="batch_handler: list")
        rig.put(range(5))
        rig.hop().read("gone", 10, 1)
        rig.hop().hand_back("gone")
        sizes: list[int] = []

        def handle(messages: list[Message]) -> list[Message]:
            sizes.append(len(messages))
            return [same(message) for message in messages]

        start = time.monotonic()
        rig.work(rig.batches(handle))
        assert (sizes, time.monotonic() - start < 0.8 * LEASE_S) == ([5], True)

    def test_the_pulse_names_the_entry_that_runs_alone(self, rig: Rig) -> None:
        rig.put([1])
        (entry,) = rig.hop().read("dead", 10, 1)
        marks: list[bytes] = []
        rig.work(lambda message: marks.append(rig.pulse.alone()), predecessors=["dead"])
        assert marks == [b"main/" + entry.id]
        assert rig.pulse.alone() == b""


class TestStop:
    """Told to stop, a process finishes the message in hand and gives the rest back."""

    @pytest.mark.parametrize("n", [0, 1, 7])
    def test_what_was_not_begun_is_handed_back(self, rig: Rig, n: int) -> None:
        rig.put(range(16))
        done: list[int] = []

        def handle(message: Message) -> Message:
            done.append(message["n"])
            return same(message)

        rig.loop(PerN(lambda n: handle({"n": n})), lambda: len(done) > n).run()
        assert rig.out() == list(range(n + 1))
        group = rig.group()
        assert (group.handled, group.pending + group.undelivered) == (n + 1, 15 - n)
        consumers = call(rig.redis, "XINFO", "CONSUMERS", rig.keys.stream(IN).stream, NAME)
        assert [row[1] for row in consumers] == [b"-"]
        rig.work(same)
        assert sorted(rig.out()) == list(range(16))

    def test_a_message_that_did_not_begin_alone_loses_no_attempt(self, rig: Rig) -> None:
        rig.put([1])
        rig.hop().read("dead", 10, 1)

        class StopsFirst:
            def handle(self, tasks: Any, pace: Any) -> Any:
                stop.append(True)
                return Results([])

            def close(self) -> None: ...

        stop: list[bool] = []
        rig.loop(StopsFirst(), lambda: bool(stop), predecessors=["dead"]).run()
        assert stop == [True]
        assert call(rig.redis, "EXISTS", rig.keys.attempts(IN, NAME)) == 0
        rig.work(same)
        assert rig.out() == [1]

    def test_slow_messages_are_written_one_by_one(self, rig: Rig) -> None:
        rig.put(range(4))
        seen: list[int] = []

        def handle(message: Message) -> Message:
            seen.append(len(rig.out()))
            time.sleep(0.03)
            return same(message)

        rig.work(handle, settle_every_s=0.02)
        assert seen == [0, 1, 2, 3]


class TestLostGroups:
    """A consumer group that is gone is made again where it stood."""

    def mend(self, rig: Rig) -> Callable[[Any], None]:
        def mend(error: Any) -> None:
            if isinstance(error, NotDeclared):
                declare(rig.flow, rig.redis, IN, create=False)

        return mend

    @pytest.mark.parametrize("lane", ["main", "retry"])
    def test_while_a_batch_is_in_hand(self, rig: Rig, lane: str) -> None:
        rig.put(range(50))
        at = rig.keys.stream(IN) if lane == "main" else rig.keys.retry(IN, NAME)
        failed: set[int] = set()

        def handle(message: Message) -> Message:
            n = message["n"]
            if n in (3, 13) and n not in failed:
                failed.add(n)
                raise ValueError
            if n in (10, 13) and (n, lane) not in gone:
                gone.add((n, lane))
                call(rig.redis, "XGROUP", "DESTROY", at.stream, NAME)
            return same(message)

        gone: set[Any] = set()
        rig.work(handle, trouble=self.mend(rig))
        assert sorted(rig.out()) == list(range(50))
        assert rig.group().handled == 50

    def test_while_a_read_waits(self, rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(intake, "BLOCK_MS", 5000)
        other = connect(rig.flow.connections["main"].url)

        def lose() -> None:
            deadline = time.monotonic() + 10
            while b"cmd=xreadgroup" not in call(other, "CLIENT", "LIST") and time.monotonic() < deadline:
                pass
            call(other, "XGROUP", "DESTROY", rig.keys.stream(IN).stream, NAME)

        thread = threading.Thread(target=lose)
        thread.start()
        told: list[Any] = []

        def trouble(error: Any) -> None:
            told.append(error)
            self.mend(rig)(error)

        rig.loop(PerN(lambda n: None), lambda: bool(told), trouble=trouble).run()
        thread.join()
        assert isinstance(told[0], NotDeclared)
        monkeypatch.setattr(intake, "BLOCK_MS", 10)
        rig.put([1])
        rig.work(same)
        assert rig.out() == [1]


def test_take_over_does_not_starve_what_is_new(rig: Rig) -> None:
    """Entries of a dead process whose number exceeds what one take-over takes."""
    rig.put(range(300))
    rig.hop().read("dead", 200, 1)
    rig.work(same)
    assert sorted(rig.out()) == list(range(300))


def test_the_loop_is_five_steps(rig: Rig) -> None:
    """Read, decode, handle, write, settle: each can be called and looked at by itself."""
    rig.put([1, 2])
    loop = rig.loop(PerN(lambda n: {"n": n * 2}), lambda: False)
    batch = loop.read()
    while not batch.entries:
        batch = loop.read()
    tasks = loop.decode(batch)
    assert [task.message["n"] for task in tasks] == [1, 2]
    worked = loop.handle(batch, tasks)
    outcomes = loop.write(worked)
    assert all(isinstance(entry, Entry) for entry, _ in outcomes)
    assert rig.out() == []
    loop.settle(outcomes)
    loop.settle(outcomes)  # once is enough
    assert rig.out() == [2, 4]
    assert isinstance(rig.hop().finish("c1", outcomes), Finished)
