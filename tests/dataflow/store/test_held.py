"""What a consumer holds is told by as many, if nothing else can be pending for it; and it never is when it might."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest

from dataflow.errors import NotDeclared, OutcomeUnknown
from dataflow.store import hop as hop_module
from dataflow.store.held import FRESH_S, Held
from dataflow.store.hop import Hop
from dataflow.store.outcomes import Entry, Out, Outcome
from dataflow.store.redis import Client, call, connect
from dataflow.store.script import Script
from dataflow.testing.servers import RedisServer
from tests.dataflow.store.stores import IN, OUT, RealStore, message, mid, mids


class Told:
    """A consumer that was given some entries over the first connection, now."""

    def __init__(self, *ids: bytes) -> None:
        self.connects, self.now_s = 1, 100.0
        self.held = Held(lambda: self.connects, lambda: self.now_s)
        self.give(*ids)

    def give(self, *ids: bytes, lane: str = "main") -> None:
        self.held.asked(len(ids))
        self.held.given(lane, ids)
        self.held.answered(len(ids))

    def let_go(self, *ids: bytes) -> None:
        self.held.let_go("main", ids, self.held.given_so_far)

    def at_most(self, *ids: bytes, lane: str = "main") -> int:
        return self.held.at_most(lane, ids)


class TestHeld:
    """The numbers alone."""

    def test_what_was_given_is_the_most_that_can_be_pending(self) -> None:
        told = Told(b"1-1", b"1-2", b"1-3")
        assert told.at_most(b"1-2") == 3
        told.let_go(b"1-1", b"7-7")
        assert told.at_most(b"1-2", b"1-3") == 2

    @pytest.mark.parametrize(
        "ids", [[b"1-9"], [b"1-1", b"1-9"], [b"1-2", b"1-1"], [b"1-1", b"1-1"]],
        ids=["unknown", "one unknown", "out of order", "twice"],
    )  # fmt: skip
    def test_only_for_those_it_was_given_once_and_in_order(self, ids: list[bytes]) -> None:
        assert Told(b"1-1", b"1-2").at_most(*ids) == 0

    def test_lanes_are_apart(self) -> None:
        told = Told(b"1-1")
        told.give(b"1-1", b"1-2", lane="retry")
        assert (told.at_most(b"1-1"), told.at_most(b"1-1", lane="retry")) == (1, 2)

    def test_answers_on_their_way_may_bring_as_many_as_were_asked_for(self) -> None:
        told = Told(b"1-1")
        told.held.asked(500)
        assert told.at_most(b"1-1") == 501
        told.held.given("main", [b"1-2"])
        told.held.answered(500)
        assert told.at_most(b"1-1") == 2

    def test_a_question_whose_answer_was_lost_may_come_at_any_time(self) -> None:
        told = Told(b"1-1")
        told.held.asked(500)
        told.held.doubt()
        told.held.answered(500)
        assert not told.held.certain
        told.held.forget()
        told.give(b"1-1")
        told.held.asked_for_all()
        assert told.held.certain
        assert told.at_most(b"1-1") == 0

    def test_a_new_connection_may_lead_to_a_server_that_has_forgotten(self) -> None:
        told = Told()
        told.connects = 2
        assert not told.held.certain
        told.held.forget()
        told.give(b"1-1")
        told.held.asked_for_all()
        assert told.held.certain
        assert told.at_most(b"1-1") == 1
        told.connects = 3
        assert not told.held.certain
        assert told.at_most(b"1-1") == 0

    def test_before_anything_was_told_there_is_nothing_to_forget(self) -> None:
        made = Held(lambda: connects)
        connects = 7
        assert made.certain

    def test_all_that_is_pending_may_be_told_over_two_connections(self) -> None:
        told = Told(b"1-1")
        told.connects = 2
        told.held.forget()
        told.give(b"1-1")
        told.connects = 3
        told.give(b"1-2", lane="retry")
        told.held.asked_for_all()
        assert told.held.certain  # or it would be asked for again and again
        assert told.at_most(b"1-1") == 0  # the server may be another since

    def test_it_begins_anew_with_what_is_told_next(self) -> None:
        told = Told(b"1-1", b"1-2")
        told.held.forget()
        told.give(b"1-2")
        assert (told.at_most(b"1-1"), told.at_most(b"1-2")) == (0, 1)

    def test_what_is_given_anew_meanwhile_is_not_let_go(self) -> None:
        told = Told(b"1-1", b"1-2")
        until = told.held.given_so_far
        told.give(b"1-1")
        told.held.let_go("main", [b"1-1", b"1-2"], until)
        told.give(b"1-5")
        assert told.at_most(b"1-1") == 0  # nor is it in order until nothing is left
        told.let_go(b"1-1", b"1-5")
        told.give(b"1-6")
        assert told.at_most(b"1-6") == 1

    @pytest.mark.parametrize("later", [b"1-4", b"0-99", b"1-5"])
    def test_entries_that_came_out_of_order(self, later: bytes) -> None:
        told = Told(b"1-5", b"1-10")
        told.give(b"1-11")
        assert told.at_most(b"1-5", b"1-10", b"1-11") == 3
        told.give(later)
        assert told.at_most(b"1-10", b"1-11") == 0

    def test_what_was_told_long_ago_is_not_relied_on(self) -> None:
        told = Told(b"1-1", b"1-2")
        told.now_s += FRESH_S - 0.01
        assert told.at_most(b"1-1") == 2
        told.now_s += 0.02
        assert told.at_most(b"1-1") == 0
        told.give(b"1-3")
        assert told.at_most(b"1-1") == 3


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """What each `finish` tells the script about how many are pending at most."""
    numbers: list[int] = []
    send = Script.send

    def noting(self: Script, client: Client, keys: Sequence[str], args: Sequence[Any], *more: Any) -> Any:
        if self.name == "finish":
            numbers.append(args[-1])
        return send(self, client, keys, args, *more)

    monkeypatch.setattr(Script, "send", noting)
    return numbers


def put(store: RealStore, count: int) -> None:
    store.door().append([message(n) for n in range(count)])


def same(entries: Sequence[Entry]) -> list[tuple[Entry, Outcome]]:
    return [(entry, Out([(0, list(entry.fields))])) for entry in entries]


def steal(store: RealStore, entries: Sequence[Entry], thief: str = "thief") -> None:
    ids = [entry.id for entry in entries]
    call(store.client, "XCLAIM", store.keys.stream(IN).stream, "one", thief, 0, *ids)


def without_answer(monkeypatch: pytest.MonkeyPatch, step: Callable[[], object]) -> None:
    """Take a step that Redis carries out and whose reply gets lost."""
    send = hop_module.send

    def losing(*args: Any, **options: Any) -> Any:
        reply = send(*args, **options)

        def lost() -> None:
            reply()
            raise OutcomeUnknown("lost")

        return lost

    with monkeypatch.context() as patch, pytest.raises(OutcomeUnknown):
        patch.setattr(hop_module, "send", losing)
        step()


@pytest.fixture
def hop(store: RealStore) -> Hop:
    """With all connections made that a test needs: a new one makes everything uncertain."""
    hop = store.hop("one")
    call(store.client, "PING")
    one, two = hop.begin_read("nobody", 1), hop.begin_read("nobody", 1)
    assert (one(), two()) == ([], [])
    return hop


@pytest.mark.integration
class TestFinish:
    """With real servers: as many pending as there can be are the same; others are found one by one."""

    def test_what_is_on_its_way_counts(self, store: RealStore, hop: Hop, told: list[int]) -> None:
        put(store, 5)
        entries = hop.read("c", 2, 0)
        ahead = hop.begin_read("c", 7)
        assert hop.finish("c", same(entries)).done == 2
        more = ahead()
        assert hop.finish("c", same(more)).done == 3
        assert told == [9, 3]
        assert mids(store, OUT) == [f"m{n}" for n in range(5)]

    def test_entries_of_both_lanes(self, store: RealStore, hop: Hop, told: list[int]) -> None:
        put(store, 5)
        call(store.client, "XADD", store.keys.retry(IN, "one").stream, "*", "_mid", "back", "_path", "", "n", "1")
        entries = hop.read("c", 3, 0)
        assert [entry.lane for entry in entries] == ["main", "main", "main", "retry"]
        assert hop.finish("c", same(entries)).done == 4
        assert told == [3, 1]
        assert sorted(mids(store, OUT)) == ["back", "m0", "m1", "m2"]

    def test_a_lost_answer_and_a_theft_leave_as_many(
        self, store: RealStore, hop: Hop, told: list[int], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        put(store, 4)
        entries = hop.read("c", 2, 0)
        without_answer(monkeypatch, lambda: hop.read("c", 2, 0))
        steal(store, entries)
        done = hop.finish("c", same(entries))
        assert (done.done, done.lost, told) == (0, [entry.id for entry in entries], [0])
        assert not hop.is_certain("c")
        left = hop.recover("c")
        assert [mid(entry.fields) for entry in left] == ["m2", "m3"]
        assert hop.is_certain("c")
        assert hop.finish("c", same(left)).done == 2
        assert told == [0, 0]  # for good: who knows when the server gets what it was asked

    def test_an_inheritance_whose_answer_was_lost(
        self, store: RealStore, hop: Hop, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        put(store, 4)
        store.hop("one").read("dead", 2, 0)
        entries = hop.read("c", 2, 0)
        with monkeypatch.context() as patch, pytest.raises(OutcomeUnknown):
            run = Script.run

            def losing(self: Script, *args: Any) -> Any:
                run(self, *args)
                raise OutcomeUnknown("lost")

            patch.setattr(Script, "run", losing)
            hop.inherit("c", "dead")
        steal(store, entries)
        assert hop.finish("c", same(entries)).done == 0

    def test_what_is_not_lost_of_those_that_go_together_is_held_on(self, store: RealStore, hop: Hop) -> None:
        put(store, 5)
        entries = hop.read("c", 3, 0)
        steal(store, entries[:1])
        assert hop.finish("c", same(entries), together=True).done == 0
        more = hop.read("c", 2, 0)
        steal(store, more)
        assert hop.finish("c", same(more)).done == 0
        assert hop.finish("c", same(entries[1:])).done == 2

    def test_a_script_that_was_forgotten_is_not_told_what_is_out_of_date(self, store: RealStore, hop: Hop) -> None:
        put(store, 4)
        entries = hop.read("c", 2, 0)
        call(store.client, "SCRIPT", "FLUSH")
        finished = hop.begin_finish("c", same(entries))
        assert len(hop.read("c", 2, 0)) == 2
        steal(store, entries)
        assert finished().done == 0

    def test_one_that_is_anothers_when_it_is_to_run_is_held_no_more(
        self, store: RealStore, hop: Hop, told: list[int]
    ) -> None:
        put(store, 3)
        entries = hop.read("c", 3, 0)
        steal(store, entries[:1])
        assert hop.begin("c", entries[0]) == 0
        assert hop.finish("c", same(entries[1:])).done == 2
        assert told == [2]

    def test_what_was_handed_back_is_not_remembered(self, store: RealStore, hop: Hop, told: list[int]) -> None:
        put(store, 5)
        assert hop.finish("c", same(hop.read("c", 3, 0)[:1])).done == 1
        assert hop.hand_back("c") == 2
        assert hop.finish("c", same(hop.read("c", 2, 0))).done == 2
        assert told == [3, 2]

    def test_those_above_an_unfinished_one_are_deleted_in_any_order(self, store: RealStore, hop: Hop) -> None:
        put(store, 12)
        other = store.hop("two")
        assert other.finish("c", [(entry, Out()) for entry in other.read("c", 12, 0)]).done == 12
        entries = hop.read("c", 12, 0)
        assert hop.finish("c", same(entries[:0:-1])).done == 11
        assert mids(store) == ["m0"]

    def test_one_that_is_given_again_before_it_is_known_to_be_lost(self, store: RealStore, hop: Hop) -> None:
        put(store, 2)
        entries = hop.read("c", 1, 0)
        steal(store, entries)
        finished = hop.begin_finish("c", same(entries))
        _, again = hop.take_over("c", 0, 10)
        assert again == entries
        assert finished().lost == [entries[0].id]
        more = hop.read("c", 1, 0)
        steal(store, more)
        assert hop.finish("c", same(more)).done == 0

    def test_a_refusal_is_no_lost_answer(self, store: RealStore, hop: Hop, told: list[int]) -> None:
        put(store, 2)
        store.lose_group(store.keys.stream(IN), "one")
        with pytest.raises(NotDeclared):
            hop.read("c", 2, 0)
        store.apply()
        hop.recover("c")  # over the connection that `apply` has made
        assert not hop.has_lost_answers("c")
        assert hop.finish("c", same(hop.read("c", 2, 0))).done == 2
        assert told == [2]

    def test_a_connection_that_was_closed_meanwhile(self, store: RealStore, hop: Hop, told: list[int]) -> None:
        put(store, 2)
        entries = hop.read("c", 2, 0)
        call(store.client, "CLIENT", "KILL", "TYPE", "normal", "SKIPME", "no")
        assert hop.finish("c", same(entries)).done == 2
        assert told == [2, 0]
        assert not hop.is_certain("c")


@pytest.mark.integration
def test_a_server_that_has_lost_its_last_second_is_asked_for_each(told: list[int]) -> None:
    """What was finished in it is pending again, as many as were read after it, and those are to be read again."""
    with RedisServer() as server, connect(server.url) as client:
        store = RealStore(client)
        store.apply()
        hop = store.hop("one")
        put(store, 4)
        first = hop.read("c", 2, 0)
        cut = server.log_bytes()
        assert hop.finish("c", same(first)).done == 2
        second = hop.read("c", 2, 0)
        server.restart_cut_at(cut)
        done = hop.finish("c", same(second))
        assert (done.done, done.lost) == (0, [entry.id for entry in second])
        assert (mids(store, OUT), told[-2:]) == ([], [2, 0])
        assert not hop.is_certain("c")
        assert hop.recover("c") == first
        assert hop.read("c", 2, 0) == second
        assert hop.finish("c", same([*first, *second])).done == 4
        assert mids(store, OUT) == ["m0", "m1", "m2", "m3"]
