"""What every store promises: run on the double and on real servers by test_store_contract.py."""

from __future__ import annotations

from dataclasses import replace

import pytest

from dataflow.errors import BatchConflict, Fenced, NotDeclared, ServerFull, StreamFull, TargetBehind
from dataflow.message import meta
from dataflow.store.door import Alike, Appended, KeyReused, Outgoing, Record, Stamp
from dataflow.store.hop import Hop
from dataflow.store.lane import Frozen, Lane, Lease, LeaseHeld, Refused, content, digest
from dataflow.store.outcomes import Dead, Drop, Entry, Out, Outcome, Park
from dataflow.store.script import WIDEST
from tests.dataflow.store.stores import IN, LAST, OUT, SIDE, Store, drifts, message, mid, mids

PAST_MS = 1
LONG_MS = 600_000
FAR_MS = 32_503_680_000_000


def put(store: Store, *numbers: int, stream: str = IN) -> None:
    store.door().append([message(n, stream) for n in numbers])


def out(n: int, target: int = 0) -> Out:
    return Out([(target, message(n).fields)])


def finish(hop: Hop, consumer: str, entries: list[Entry], outcome: Outcome) -> None:
    assert hop.finish(consumer, [(entry, outcome) for entry in entries]).lost == []


class DoorContract:
    """Appending."""

    def test_an_append_stores_all_in_order(self, store: Store) -> None:
        store.door().append([message(1), message(2, OUT), message(3)])
        assert (mids(store, IN), mids(store, OUT)) == (["m1", "m3"], ["m2"])
        assert drifts(store) == []

    def test_a_stamp_gives_ids_and_path_in_the_order_of_the_request(self, store: Store) -> None:
        columns = [[b"1", b"2"], [b"x", b""]]
        store.door().append(Alike(IN, [b"n", b"text"], columns), stamp=Stamp("first", "hub@5"))
        bare = [Outgoing(IN, []), Outgoing(OUT, [b"n", b"3"]), Outgoing(IN, [b"m", b"4"])]
        store.door().append(bare, stamp=Stamp("second", "hub@6"))
        assert [fields for _, fields in store.fields(store.keys.stream(IN))] == [
            [*meta("first-0", "hub@5"), b"n", b"1", b"text", b"x"],
            [*meta("first-1", "hub@5"), b"n", b"2", b"text", b""],
            meta("second-0", "hub@6"),
            [*meta("second-2", "hub@6"), b"m", b"4"],
        ]
        ((_, fields),) = store.fields(store.keys.stream(OUT))
        assert fields == [*meta("second-1", "hub@6"), b"n", b"3"]
        assert drifts(store) == []

    def test_messages_that_are_alike_are_stored_all_or_none(self, store: Store) -> None:
        numbers, stamp = [b"%d" % n for n in range(31)], Stamp("r", "hub@5")
        with pytest.raises(StreamFull, match="0 of 30"):
            store.door().append(Alike(OUT, [b"n"], [numbers]), stamp=stamp)
        assert store.door().append(Alike(OUT, [b"n"], [numbers[1:]]), stamp=stamp).count == 30
        assert mids(store, OUT) == [f"r-{n}" for n in range(30)]

    def test_an_append_without_room_in_one_stream_stores_nothing(self, store: Store) -> None:
        put(store, *range(29), stream=OUT)
        with pytest.raises(StreamFull, match="29 of 30"):
            store.door().append([message(1), message(2, OUT), message(3, OUT)])
        assert (mids(store, IN), len(mids(store, OUT))) == ([], 29)

    def test_a_stream_takes_exactly_its_room(self, store: Store) -> None:
        put(store, *range(30), stream=OUT)
        with pytest.raises(StreamFull):
            put(store, 30, stream=OUT)
        assert len(mids(store, OUT)) == 30

    def test_an_append_to_an_undeclared_stream_stores_nothing(self, store: Store) -> None:
        with pytest.raises(NotDeclared, match="nowhere"):
            store.door().append([message(1), message(2, "nowhere")])
        assert mids(store) == []

    def test_the_cap_is_refused_before_anything_is_sent(self, store: Store) -> None:
        with pytest.raises(ValueError, match="1 to 1000"):
            store.door().append([message(n) for n in range(1001)])
        assert mids(store) == []

    def test_a_key_answers_the_second_time_without_storing(self, store: Store) -> None:
        record = Record("k", "digest", "r1", 2, 60)
        first = store.door().append([message(1), message(2)], record=record)
        again = store.door().append([message(1), message(2)], record=Record("k", "digest", "r2", 2, 60))
        assert (first.request_id, first.repeated) == ("r1", False)
        assert (again.request_id, again.count, again.repeated) == ("r1", 2, True)
        assert mids(store) == ["m1", "m2"]

    def test_a_key_is_looked_up_before_room(self, store: Store) -> None:
        record = Record("k", "digest", "r1", 40, 60)
        store.door().append([message(n) for n in range(40)], record=record)
        assert store.door().append([message(n) for n in range(40)], record=record).repeated

    def test_a_key_with_another_body_is_refused(self, store: Store) -> None:
        store.door().append([message(1)], record=Record("k", "digest", "r1", 1, 60))
        with pytest.raises(KeyReused):
            store.door().append([message(2)], record=Record("k", "other", "r2", 1, 60))
        assert mids(store) == ["m1"]

    def test_a_record_is_recalled_by_the_same_body_only(self, store: Store) -> None:
        record = Record("k", "digest", "r1", 1, 60)
        assert store.door().recall(record) is None
        store.door().append([message(1)], record=record)
        assert store.door().recall(Record("k", "digest", "r2", 7, 60)) == Appended("r1", 1, repeated=True)
        assert store.door().recall(Record("k", "other", "r2", 1, 60)) is None
        assert store.door().recall(Record("l", "digest", "r2", 1, 60)) is None

    def test_a_refused_append_leaves_no_record(self, store: Store) -> None:
        put(store, *range(40))
        record = Record("k", "digest", "r1", 1, 60)
        with pytest.raises(StreamFull):
            store.door().append([message(40)], record=record)
        hop = store.hop("one")
        for group in ("one", "two"):
            hop = store.hop(group)
            finish(hop, "c", hop.read("c", 100, 0), Drop())
        assert not store.door().append([message(40)], record=record).repeated


class HopContract:
    """Reading and finishing."""

    def test_each_entry_goes_to_one_consumer_of_a_group(self, store: Store) -> None:
        put(store, *range(6))
        hop = store.hop("one")
        first, second = hop.read("c1", 4, 0), hop.read("c2", 4, 0)
        assert [mid(e.fields) for e in first + second] == [f"m{n}" for n in range(6)]
        assert hop.read("c1", 4, 0) == []

    def test_finish_writes_acknowledges_and_counts(self, store: Store) -> None:
        put(store, 1, 2, 3)
        hop = store.hop("one")
        a, b, c = hop.read("c", 10, 0)
        done = hop.finish("c", [(a, Out([(0, message(10).fields), (1, message(11).fields)])), (b, Drop()), (c, Out())])
        assert (done.done, done.lost) == (3, [])
        assert (mids(store, OUT), mids(store, SIDE)) == (["m10"], ["m11"])
        group = store.view(IN).groups[0]
        assert (group.handled, group.filtered, group.out, group.pending) == (2, 1, 2, 0)
        assert store.view(OUT).books.written == {"one": 1}

    def test_finish_is_idempotent(self, store: Store) -> None:
        put(store, 1, 2)
        hop = store.hop("one")
        rows = [(entry, out(9)) for entry in hop.read("c", 10, 0)]
        assert hop.finish("c", rows).done == 2
        again = hop.finish("c", rows)
        assert (again.done, again.lost) == (0, [entry.id for entry, _ in rows])
        assert mids(store, OUT) == ["m9", "m9"]
        assert drifts(store) == []

    def test_a_consumer_that_lost_an_entry_writes_nothing_for_it(self, store: Store) -> None:
        put(store, 1, 2)
        hop = store.hop("one")
        a, b = hop.read("slow", 10, 0)
        assert hop.finish("slow", [(b, Drop())]).done == 1
        _, taken = hop.take_over("quick", 0, 10)
        assert [entry.id for entry in taken] == [a.id]
        late = hop.finish("slow", [(a, out(1))])
        assert (late.done, late.lost) == (0, [a.id])
        assert mids(store, OUT) == []
        assert hop.finish("quick", [(taken[0], out(2))]).done == 1
        assert mids(store, OUT) == ["m2"]

    def test_the_fence_is_per_entry_unless_all_go_together(self, store: Store) -> None:
        put(store, 1, 2)
        hop = store.hop("one")
        a, b = hop.read("slow", 10, 0)
        hop.take_over("quick", 0, 1)
        assert hop.finish("slow", [(a, out(1)), (b, out(2))], together=True).done == 0
        assert mids(store, OUT) == []
        done = hop.finish("slow", [(a, out(1)), (b, out(2))])
        assert (done.done, done.lost, mids(store, OUT)) == (1, [a.id], ["m2"])

    def test_as_many_pending_as_given_does_not_mean_that_they_are_the_same(self, store: Store) -> None:
        put(store, 1, 2, 3)
        hop = store.hop("one")
        first, second, third = hop.read("slow", 3, 0)
        hop.take_over("quick", 0, 1)
        done = hop.finish("slow", [(first, out(1)), (third, out(3))])
        assert (done.done, done.lost, mids(store, OUT)) == (1, [first.id], ["m3"])
        assert hop.recover("slow") == [second]

    def test_what_others_hold_in_between_is_left_alone(self, store: Store) -> None:
        put(store, *range(9))
        hop = store.hop("one")
        (first,) = hop.read("c", 1, 0)
        hop.read("other", 7, 0)
        (last,) = hop.read("c", 1, 0)
        done = hop.finish("c", [(first, out(1)), (last, out(2))])
        assert (done.done, done.lost, mids(store, OUT)) == (2, [], ["m1", "m2"])
        assert len(hop.recover("other")) == 7

    def test_an_entry_that_is_given_twice_counts_once(self, store: Store) -> None:
        put(store, 1, 2)
        hop = store.hop("one")
        first, second = hop.read("c", 2, 0)
        done = hop.finish("c", [(first, out(1)), (first, out(1)), (second, out(2))])
        assert (done.done, done.lost, mids(store, OUT)) == (2, [first.id], ["m1", "m2"])

    def test_what_is_finished_out_of_order_is_deleted_at_once(self, store: Store) -> None:
        put(store, 1, 2, 3, 4)
        hop, other = store.hop("one"), store.hop("two")
        finish(other, "c", other.read("c", 4, 0), Drop())
        first, _, _, fourth = hop.read("c", 4, 0)
        assert hop.finish("c", [(fourth, Drop()), (first, Drop())]).done == 2
        assert mids(store, IN) == ["m2", "m3"]
        assert drifts(store) == []

    def test_a_full_target_stops_the_whole_step(self, store: Store) -> None:
        put(store, *range(29), stream=SIDE)
        put(store, 1, 2)
        hop = store.hop("one")
        a, b = hop.read("c", 10, 0)
        rows = [(a, Out([(0, message(1).fields), (1, message(1).fields)])), (b, out(2, target=1))]
        with pytest.raises(StreamFull, match=SIDE):
            hop.finish("c", rows)
        assert mids(store, OUT) == []
        assert store.view(IN).groups[0].pending == 2
        assert hop.finish("c", rows[:1]).done == 1

    def test_dead_letters_keep_reason_error_attempts_and_message(self, store: Store) -> None:
        put(store, 7)
        hop = store.hop("one")
        finish(hop, "c", hop.read("c", 10, 0), Dead("rejected", "no good", 3))
        ((_, fields),) = store.fields(store.keys.dead(IN, "one"))
        texts = dict(zip(fields[::2], fields[1::2], strict=True))
        told = [texts[b"_dead_" + name] for name in (b"reason", b"error", b"attempts", b"lane")]
        assert told == [b"rejected", b"no good", b"3", b"main"]
        assert (texts[b"_mid"], texts[b"n"]) == (b"m7", b"7")
        assert store.view(IN).groups[0].dead == 1
        assert drifts(store) == []

    def test_a_replayed_message_comes_back_to_its_group_only(self, store: Store) -> None:
        put(store, 7)
        one, two = store.hop("one"), store.hop("two")
        (first,) = one.read("c", 10, 0)
        finish(one, "c", [first], Dead("rejected", "no", 1))
        finish(two, "c", two.read("c", 10, 0), Drop())
        assert store.replay(IN, "one") == 1
        assert drifts(store) == []
        assert two.read("c", 10, 0) == []
        (again,) = one.read("c", 10, 0)
        assert (again.lane, mid(again.fields)) == ("retry", "m7")
        texts = dict(zip(again.fields[::2], again.fields[1::2], strict=True))
        assert (texts[b"_attempt"], texts[b"_origin"]) == (b"0", b"main/" + first.id)
        assert not any(name.startswith(b"_dead_") for name in texts)
        finish(one, "c", [again], out(7))
        assert (mids(store, OUT), store.view(IN).groups[0].dead, drifts(store)) == (["m7"], 0, [])
        assert store.view(IN).groups[0].retry.length == 0

    def test_a_message_that_dies_again_keeps_its_origin(self, store: Store) -> None:
        put(store, 7)
        hop = store.hop("one")
        (first,) = hop.read("c", 10, 0)
        finish(hop, "c", [first], Dead("rejected", "no", 1))
        for _ in range(2):
            store.replay(IN, "one")
            finish(hop, "c", hop.read("c", 10, 0), Dead("rejected", "no", 1))
        ((_, fields),) = store.fields(store.keys.dead(IN, "one"))
        assert dict(zip(fields[::2], fields[1::2], strict=True))[b"_origin"] == b"main/" + first.id
        assert drifts(store) == []

    def test_a_parked_message_comes_back_when_it_is_due(self, store: Store) -> None:
        put(store, 1, 2)
        hop = store.hop("one")
        a, b = hop.read("c", 10, 0)
        hop.finish("c", [(a, Park(FAR_MS, 1)), (b, Park(PAST_MS, 4))])
        group = store.view(IN).groups[0]
        assert (group.parked, group.next_due_ms, drifts(store)) == (2, PAST_MS, [])
        assert hop.wake() == 1
        (back,) = hop.read("c", 10, 0)
        texts = dict(zip(back.fields[::2], back.fields[1::2], strict=True))
        assert (back.lane, texts[b"_mid"], texts[b"_attempt"]) == ("retry", b"m2", b"4")
        assert texts[b"_origin"] == b"main/" + b.id
        assert (hop.wake(), drifts(store)) == (0, [])

    def test_a_message_parked_twice_is_one_message(self, store: Store) -> None:
        put(store, 1)
        hop = store.hop("one")
        since: set[bytes] = set()
        in_hand = hop.read("c", 10, 0)
        for attempt in (1, 2, 3):
            finish(hop, "c", in_hand, Park(PAST_MS, attempt))
            assert hop.wake() == 1
            in_hand = hop.read("c", 10, 0)
            (back,) = in_hand
            assert back.fields[::2] == [b"_attempt", b"_origin", b"_since", b"_mid", b"_path", b"n"]
            since.add(back.fields[5])
        assert len(since) == 1 and int(since.pop()) > PAST_MS
        finish(hop, "c", in_hand, Dead("failed", "x", 3))
        assert store.replay(IN, "one") == 1
        (back,) = hop.read("c", 10, 0)
        assert back.fields[::2] == [b"_attempt", b"_origin", b"_mid", b"_path", b"n"]
        assert drifts(store) == []

    def test_full_dead_letters_stop_the_group(self, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("dataflow.store.declare.DEAD_MAX_LEN", 1)
        monkeypatch.setattr("dataflow.testing.memory.DEAD_MAX_LEN", 1)
        store.apply()
        put(store, 1, 2)
        hop = store.hop("one")
        rows: list[tuple[Entry, Outcome]] = [(entry, Dead("rejected", "no", 1)) for entry in hop.read("c", 10, 0)]
        with pytest.raises(StreamFull, match="dead letters of one"):
            hop.finish("c", rows)
        assert store.view(IN).groups[0].pending == 2
        assert drifts(store) == []

    def test_attempts_are_counted_for_the_owner_only(self, store: Store) -> None:
        put(store, 1)
        hop = store.hop("one")
        (entry,) = hop.read("c", 10, 0)
        assert [hop.begin("c", entry), hop.begin("c", entry), hop.begin("other", entry)] == [1, 2, 0]
        assert hop.attempts(entry) == 2
        hop.finish("c", [(entry, Drop())])
        assert hop.attempts(entry) == 0

    def test_room_is_that_of_the_fullest_target(self, store: Store) -> None:
        put(store, *range(12), stream=SIDE)
        assert (store.hop("one").room(), store.hop("two").room()) == (18, 18)
        assert store.hop("archive", OUT).room() > 10**6


class ApartContract:
    """What was read apart is finished like all else."""

    def test_a_batch_is_finished_once(self, store: Store) -> None:
        put(store, 1, 2, 3)
        hop = store.hop("one")
        rows = [(entry, out(n)) for n, entry in enumerate(hop.read("c", 10, 0, apart=True), 1)]
        assert hop.finish("c", rows).done == 3
        again = hop.finish("c", rows)
        assert (again.done, again.lost) == (0, [entry.id for entry, _ in rows])
        assert (mids(store, OUT), drifts(store)) == (["m1", "m2", "m3"], [])

    def test_nothing_is_written_for_what_another_has_taken_of_it(self, store: Store) -> None:
        put(store, 1, 2, 3)
        hop = store.hop("one")
        a, b, c = hop.read("slow", 10, 0, apart=True)
        _, taken = hop.take_over("quick", 0, 1)
        assert taken == [a]
        done = hop.finish("slow", [(a, out(1)), (b, out(2)), (c, out(3))])
        assert (done.done, done.lost, mids(store, OUT)) == (2, [a.id], ["m2", "m3"])
        assert hop.finish("quick", [(a, out(4))]).done == 1

    def test_all_of_it_or_nothing(self, store: Store) -> None:
        put(store, 1, 2, 3)
        hop = store.hop("one")
        a, b, c = hop.read("slow", 10, 0, apart=True)
        hop.take_over("quick", 0, 1)
        rows = [(a, out(1)), (b, out(2)), (c, out(3))]
        assert hop.finish("slow", rows, together=True).done == 0
        assert mids(store, OUT) == []
        assert hop.finish("slow", rows[1:], together=True).done == 2

    @pytest.mark.parametrize("first", [0, 1, 2])
    def test_a_part_of_it_and_then_the_rest(self, store: Store, first: int) -> None:
        put(store, 1, 2, 3)
        hop = store.hop("one")
        rest = hop.read("c", 10, 0, apart=True)
        entry = rest.pop(first)
        assert hop.finish("c", [(entry, out(9))]).done == 1
        assert hop.recover("c") == rest
        assert hop.finish("c", [(entry, out(8)) for entry in rest]).done == 2
        assert (mids(store, OUT), drifts(store)) == (["m9", "m8", "m8"], [])

    def test_two_at_a_time_are_kept_apart(self, store: Store) -> None:
        put(store, *range(4))
        hop = store.hop("one")
        first, second = hop.read("c", 2, 0, apart=True), hop.read("c", 2, 0, apart=True)
        assert hop.finish("c", [(entry, out(2)) for entry in second]).done == 2
        assert hop.recover("c") == first
        assert hop.finish("c", [(entry, out(1)) for entry in first]).done == 2
        assert drifts(store) == []

    def test_it_is_only_for_whom_it_was_given_to(self, store: Store) -> None:
        put(store, 1, 2)
        hop = store.hop("one")
        entries = hop.read("c", 10, 0, apart=True)
        assert hop.finish("other", [(entry, out(1)) for entry in entries]).done == 0
        assert mids(store, OUT) == []
        assert hop.finish("c", [(entry, out(1)) for entry in entries]).done == 2

    def test_what_comes_back_is_not_read(self, store: Store) -> None:
        put(store, 1)
        hop = store.hop("one")
        finish(hop, "c", hop.read("c", 10, 0, apart=True), Park(PAST_MS, 1))
        assert hop.wake() == 1
        assert hop.read("c", 10, 0, apart=True) == []
        assert len(hop.read("c", 10, 0)) == 1


class OwnershipContract:
    """Who has what in hand."""

    def test_recover_finds_what_a_lost_reply_held(self, store: Store) -> None:
        put(store, 1, 2)
        hop = store.hop("one")
        lost = hop.read("c", 10, 0)
        assert hop.recover("c") == lost
        assert hop.recover("other") == []

    def test_what_was_handed_back_is_taken_in_good_order(self, store: Store) -> None:
        put(store, 1, 2, 3)
        hop = store.hop("one")
        a, _, _ = hop.read("leaving", 10, 0)
        hop.begin("leaving", a)
        assert hop.hand_back("leaving", [a]) == 3
        assert hop.attempts(a) == 0
        clean, suspect = hop.take_over("next", 3_600_000, 2)
        assert ([mid(e.fields) for e in clean], suspect) == (["m1", "m2"], [])
        assert drifts(store) == []

    def test_the_entries_of_a_dead_consumer_are_suspect(self, store: Store) -> None:
        put(store, 1, 2)
        hop = store.hop("one")
        held = hop.read("dead", 10, 0)
        hop.begin("dead", held[0])
        assert hop.inherit("heir", "dead") == held
        assert hop.attempts(held[0]) == 1
        assert hop.finish("heir", [(entry, Drop()) for entry in held]).done == 2

    def test_a_lease_that_is_renewed_is_not_taken(self, store: Store) -> None:
        put(store, 1)
        hop = store.hop("one")
        hop.read("c", 10, 0)
        assert hop.renew(["c", "unknown"]) == 1
        assert hop.take_over("other", 60_000, 10) == ([], [])

    def test_an_entry_deleted_by_hand_is_counted_as_lost(self, store: Store) -> None:
        put(store, 1, 2)
        hop = store.hop("one")
        a, b = hop.read("c", 10, 0)
        store.remove_by_hand(IN, a.id)
        _, suspect = hop.take_over("other", 0, 10)
        assert suspect == [b]
        assert store.view(IN).groups[0].lost == 1
        found = "\n".join(drifts(store))
        assert "stream a.stream_in" in found and "reader a.stream_in/one" not in found


class DeletionContract:
    """Nothing is deleted before every declared reader has finished it, and then it is."""

    def test_an_entry_stays_until_every_group_has_finished(self, store: Store) -> None:
        put(store, 1, 2, 3)
        one, two = store.hop("one"), store.hop("two")
        finish(one, "c", one.read("c", 10, 0), Drop())
        assert mids(store) == ["m1", "m2", "m3"]
        finish(two, "c", two.read("c", 2, 0), Drop())
        assert mids(store) == ["m3"]
        finish(two, "c", two.read("c", 2, 0), Drop())
        assert (mids(store), drifts(store)) == ([], [])

    def test_finished_entries_behind_a_slow_one_are_deleted(self, store: Store) -> None:
        put(store, 1, 2, 3)
        one, two = store.hop("one"), store.hop("two")
        finish(one, "c", one.read("c", 10, 0), Drop())
        slow, *others = two.read("c", 10, 0)
        finish(two, "c", others, Drop())
        assert mids(store) == ["m1"]
        finish(two, "c", [slow], Drop())
        assert (mids(store), drifts(store)) == ([], [])

    def test_an_entry_that_another_group_has_in_hand_stays(self, store: Store) -> None:
        put(store, 1, 2, 3)
        one, two = store.hop("one"), store.hop("two")
        _, second, third = two.read("c", 10, 0)
        finish(one, "c", one.read("c", 10, 0), Drop())
        assert mids(store) == ["m1", "m2", "m3"]
        finish(two, "c", [third], Drop())
        assert mids(store) == ["m1", "m2"]
        finish(two, "c", [second], Drop())
        assert mids(store) == ["m1"]

    def test_parked_messages_do_not_hold_the_stream(self, store: Store) -> None:
        put(store, 1, 2)
        one, two = store.hop("one"), store.hop("two")
        finish(one, "c", one.read("c", 10, 0), Park(FAR_MS, 1))
        finish(two, "c", two.read("c", 10, 0), Drop())
        assert (mids(store), store.view(IN).groups[0].parked, drifts(store)) == ([], 2, [])

    @pytest.mark.parametrize("in_hand", [False, True])
    def test_a_lost_group_goes_on_where_it_stood(self, store: Store, in_hand: bool) -> None:
        put(store, 1, 2, 3, 4)
        one, two = store.hop("one"), store.hop("two")
        finish(one, "c", one.read("c", 3 if in_hand else 2, 0)[:2], Drop())
        store.lose_group(store.keys.stream(IN), "one")
        with pytest.raises(NotDeclared):
            one.read("c", 10, 0)
        finish(two, "c", two.read("c", 10, 0), Drop())
        assert mids(store) == ["m1", "m2", "m3", "m4"]
        store.apply()
        assert [mid(entry.fields) for entry in one.read("c", 10, 0)] == ["m3", "m4"]
        assert drifts(store) == []

    @pytest.mark.parametrize(("other_holds", "again"), [(True, ["m1", "m2", "m3", "m4"]), (False, ["m1", "m4"])])
    def test_a_lost_group_runs_again_only_what_another_reader_holds(
        self, store: Store, other_holds: bool, again: list[str]
    ) -> None:
        """What was finished after an entry that is still in hand is not told by the frontier; see RELIABILITY.md."""
        put(store, 1, 2, 3, 4)
        one, two = store.hop("one"), store.hop("two")
        if not other_holds:
            finish(two, "c", two.read("c", 10, 0), Drop())
        one.read("slow", 1, 0)
        finish(one, "quick", one.read("quick", 2, 0), Drop())
        store.lose_group(store.keys.stream(IN), "one")
        store.apply()
        assert [mid(entry.fields) for entry in one.read("c", 10, 0)] == again

    def test_finish_without_its_group_writes_nothing(self, store: Store) -> None:
        put(store, 1)
        hop = store.hop("one")
        (entry,) = hop.read("c", 10, 0)
        store.lose_group(store.keys.stream(IN), "one")
        with pytest.raises(NotDeclared):
            hop.finish("c", [(entry, out(1))])
        assert mids(store, OUT) == []

    def test_applying_again_changes_nothing(self, store: Store) -> None:
        put(store, 1, 2)
        hop = store.hop("one")
        hop.read("c", 1, 0)
        before = store.view(IN)
        store.apply()
        assert store.view(IN) == before


def freeze(lane: Lane, lease: Lease, count: int = 10) -> Frozen:
    """Write down the next entries of a lane."""
    ids, rows = lane.read(lease.position, count)
    draft = Frozen(lease.seq + 1, digest(content(ids, rows), "{}"), ids[0], ids[-1], len(ids), "{}", 0)
    return lane.freeze(lease, LONG_MS, lease.position, draft)


def place(store: Store, lane: Lane, lease: Lease, frozen: Frozen) -> bool:
    """Send a batch to the target of the edge `copy`."""
    ids, rows = lane.reread(frozen)
    messages = store.target().pack((0, row) for row in rows)
    return store.target().place(lease.lineage, lease.epoch, frozen.seq, frozen.digest, ids, messages)


class EdgeContract:
    """Frozen batches: what is settled was sent, what is sent was frozen, and a former runner has no effect."""

    def test_a_batch_is_frozen_placed_and_settled(self, store: Store) -> None:
        put(store, 1, 2, 3, stream=SIDE)
        lane = store.lane()
        lease = lane.acquire("n1", LONG_MS, "line")
        frozen = freeze(lane, lease, 2)
        assert place(store, lane, lease, frozen)
        assert lane.settle(lease, LONG_MS, frozen, 2, []) == 2
        assert (mids(store, SIDE), mids(store, LAST)) == (["m3"], ["m1", "m2"])
        group = store.view(SIDE).groups[0]
        assert (group.handled, group.out, group.undelivered) == (2, 2, 1)
        assert lane.acquire("n1", LONG_MS, "other").seq == 1
        assert lane.state() == ("line", 1)
        assert drifts(store, SIDE) == []

    @pytest.mark.parametrize("fields", [[b"n", b"1"], [], [b"%d" % n for n in range(2 * WIDEST)]], ids=len)
    @pytest.mark.parametrize("befores", [["hub@1"] * 3, ["", "", "hub@1"], ["hub@1", "hub@2", "hub@1"]], ids=str)
    def test_paths_go_on_with_a_hop(self, store: Store, befores: list[str], fields: list[bytes]) -> None:
        target, number = store.target(), range(len(befores))
        rows = target.pack((0, [*meta(f"m{n}", befores[n]), *fields]) for n in number)
        assert target.place("line", 1, 1, "digest", [b"1-%d" % n for n in number], rows, hop="copy@7")
        found = [fields for _, fields in store.fields(store.keys.stream(LAST))]
        afters = [f"{before}>copy@7" if before else "copy@7" for before in befores]
        assert found == [[*meta(f"m{n}", afters[n]), *fields] for n in number]

    def test_what_was_frozen_is_what_the_next_runner_finds(self, store: Store) -> None:
        put(store, 1, 2, stream=SIDE)
        lane = store.lane()
        first = lane.acquire("n1", 0, "line")
        frozen = freeze(lane, first)
        lane.release(first)
        put(store, 3, stream=SIDE)
        second = lane.acquire("n2", LONG_MS, "other")
        assert (second.lineage, second.epoch, second.open) == ("line", first.epoch + 1, frozen)
        ids, _ = lane.reread(frozen)
        assert len(ids) == frozen.count == 2

    def test_a_lease_is_held_until_it_ends_or_is_let_go(self, store: Store) -> None:
        lane = store.lane()
        lease = lane.acquire("n1", LONG_MS, "line")
        with pytest.raises(LeaseHeld) as held:
            lane.acquire("n2", LONG_MS, "line")
        assert (held.value.holder, held.value.left_ms > 0) == ("n1", True)
        assert lane.acquire("n1", LONG_MS, "line").epoch == lease.epoch
        assert lane.acquire("n2", LONG_MS, "line", dead_holder="n1").epoch == lease.epoch + 1
        assert not lane.extend(lease, LONG_MS)
        lane.release(lease)
        with pytest.raises(LeaseHeld):
            lane.acquire("n3", LONG_MS, "line")

    def test_a_former_runner_can_neither_freeze_nor_settle_nor_place(self, store: Store) -> None:
        put(store, 1, 2, stream=SIDE)
        lane = store.lane()
        old = lane.acquire("n1", LONG_MS, "line")
        frozen = freeze(lane, old)
        new = lane.acquire("n2", LONG_MS, "line", dead_holder="n1")
        store.target().handshake(new.lineage, new.epoch)
        with pytest.raises(Fenced):
            place(store, lane, old, frozen)
        with pytest.raises(Fenced):
            lane.settle(old, LONG_MS, frozen, 2, [])
        with pytest.raises(Fenced):
            lane.freeze(old, LONG_MS, old.position, frozen)
        assert mids(store, LAST) == []
        assert place(store, lane, new, frozen)
        lane.settle(new, LONG_MS, frozen, 2, [])
        assert (mids(store, LAST), drifts(store, SIDE)) == (["m1", "m2"], [])

    def test_a_former_runner_cannot_freeze_what_it_has_read(self, store: Store) -> None:
        put(store, 1, 2, stream=SIDE)
        lane = store.lane()
        old = lane.acquire("n1", LONG_MS, "line")
        lane.acquire("n2", LONG_MS, "line", dead_holder="n1")
        with pytest.raises(Fenced):
            freeze(lane, old)
        assert lane.acquire("n2", LONG_MS, "line").open is None

    def test_only_the_open_batch_can_be_settled_and_only_once(self, store: Store) -> None:
        put(store, 1, 2, stream=SIDE)
        lane = store.lane()
        lease = lane.acquire("n1", LONG_MS, "line")
        frozen = freeze(lane, lease)
        for other in (replace(frozen, seq=2), replace(frozen, digest="other")):
            with pytest.raises(Fenced):
                lane.settle(lease, LONG_MS, other, 2, [])
        lane.settle(lease, LONG_MS, frozen, 2, [])
        with pytest.raises(Fenced):
            lane.settle(lease, LONG_MS, frozen, 2, [])
        assert store.view(SIDE).groups[0].handled == 2

    def test_one_batch_is_open_at_a_time(self, store: Store) -> None:
        put(store, 1, 2, stream=SIDE)
        lane = store.lane()
        lease = lane.acquire("n1", LONG_MS, "line")
        frozen = freeze(lane, lease, 1)
        with pytest.raises(Fenced):
            freeze(lane, lease, 2)
        again = lane.freeze(lease, LONG_MS, lease.position, replace(frozen, seq=2), replaces=frozen)
        assert lane.acquire("n1", LONG_MS, "line").open == again

    def test_a_batch_is_applied_once_however_often_it_is_sent(self, store: Store) -> None:
        put(store, 1, 2, stream=SIDE)
        lane = store.lane()
        lease = lane.acquire("n1", LONG_MS, "line")
        frozen = freeze(lane, lease)
        assert [place(store, lane, lease, frozen) for _ in range(3)] == [True, False, False]
        assert mids(store, LAST) == ["m1", "m2"]
        assert store.target().handshake(lease.lineage, lease.epoch)[:3] == (1, frozen.digest, lease.epoch)

    def test_another_batch_under_a_number_is_a_conflict_with_what_is_known(self, store: Store) -> None:
        put(store, 1, 2, stream=SIDE)
        lane = store.lane()
        lease = lane.acquire("n1", LONG_MS, "line")
        frozen = freeze(lane, lease)
        place(store, lane, lease, frozen)
        ids, _ = lane.reread(frozen)
        with pytest.raises(BatchConflict) as conflict:
            place(store, lane, lease, replace(frozen, digest="other"))
        assert (conflict.value.applied_ids, conflict.value.last_seq) == (ids, 1)
        with pytest.raises(TargetBehind):
            place(store, lane, lease, replace(frozen, seq=3))
        assert mids(store, LAST) == ["m1", "m2"]

    def test_a_full_target_takes_nothing_but_knows_what_it_has(self, store: Store) -> None:
        put(store, 1, 2, stream=SIDE)
        lane = store.lane()
        lease = lane.acquire("n1", LONG_MS, "line")
        frozen = freeze(lane, lease)
        place(store, lane, lease, frozen)
        put(store, *range(998), stream=LAST)
        assert not place(store, lane, lease, frozen)
        lane.settle(lease, LONG_MS, frozen, 2, [])
        put(store, 3, stream=SIDE)
        after = lane.acquire("n1", LONG_MS, "line")
        with pytest.raises(StreamFull, match=LAST):
            place(store, lane, after, freeze(lane, after))

    def test_refused_rows_become_dead_letters_when_the_batch_settles(self, store: Store) -> None:
        put(store, 1, 2, stream=SIDE)
        lane = store.lane()
        lease = lane.acquire("n1", LONG_MS, "line")
        frozen = freeze(lane, lease)
        lane.settle(lease, LONG_MS, frozen, 1, [Refused(frozen.first, "n: no number")])
        group = store.view(SIDE).groups[0]
        assert (group.handled, group.dead, group.dead_letters.length) == (1, 1, 1)
        assert drifts(store, SIDE) == []
        assert store.replay(SIDE, "copy") == 1
        retry = store.lane(retry=True)
        back = retry.acquire("n1", LONG_MS, "line2")
        retry.settle(back, LONG_MS, freeze(retry, back), 1, [])
        group = store.view(SIDE).groups[0]
        assert (group.handled, group.dead, group.retry_depth, group.retry.length) == (2, 0, 0, 0)
        assert drifts(store, SIDE) == []

    def test_settle_without_its_group_changes_nothing(self, store: Store) -> None:
        put(store, 1, stream=SIDE)
        lane = store.lane()
        lease = lane.acquire("n1", LONG_MS, "line")
        frozen = freeze(lane, lease)
        store.lose_group(store.keys.stream(SIDE), "copy")
        with pytest.raises(NotDeclared):
            lane.settle(lease, LONG_MS, frozen, 1, [Refused(frozen.first, "no")])
        store.apply()
        assert store.view(SIDE).groups[0].dead_letters.length == 0
        lane.settle(lease, LONG_MS, frozen, 1, [])
        assert (mids(store, SIDE), drifts(store, SIDE)) == ([], [])

    def test_a_pause_is_told_with_the_lease_until_it_is_lifted(self, store: Store) -> None:
        lane = store.lane()
        lane.pause("schema drift")
        assert lane.acquire("n1", LONG_MS, "line").paused == "schema drift"
        assert (lane.resume(), lane.resume()) == (True, False)
        assert lane.acquire("n1", LONG_MS, "line").paused == ""

    def test_a_batch_that_lost_entries_can_be_opened_again(self, store: Store) -> None:
        put(store, 1, 2, 3, stream=SIDE)
        lane = store.lane()
        lease = lane.acquire("n1", LONG_MS, "line")
        frozen = freeze(lane, lease)
        store.remove_by_hand(SIDE, frozen.first)
        assert len(lane.reread(frozen)[0]) == 2
        assert lane.reopen() == 1
        lease = lane.acquire("n2", LONG_MS, "line")
        assert lease.open is None
        lane.settle(lease, LONG_MS, freeze(lane, lease), 2, [])
        group = store.view(SIDE).groups[0]
        assert (group.handled, group.lost) == (2, 1)
        assert not any("reader" in drift for drift in drifts(store, SIDE))

    def test_waiting_tells_without_the_lease(self, store: Store) -> None:
        lane = store.lane()
        put(store, 1, 2, 3, stream=SIDE)
        told = lane.waiting(2)
        assert (told.count, told.open, told.fresh) == (2, False, True)
        freeze(lane, lane.acquire("n1", LONG_MS, "line"))
        told = lane.waiting(10)
        assert (told.count, told.open, told.fresh) == (3, True, False)


class MemoryLimitContract:
    """At the memory limit nothing comes in, and everything can drain."""

    def test_an_append_is_refused_and_stores_nothing(self, store: Store) -> None:
        store.fill()
        with pytest.raises(ServerFull):
            put(store, 1, 2)
        store.relieve()
        assert mids(store) == []

    def test_every_draining_step_works(self, store: Store) -> None:
        put(store, *range(6))
        one, two = store.hop("one"), store.hop("two")
        a, b, c, d, e, _ = one.read("c", 10, 0)
        store.fill()
        assert one.begin("c", a) == 1
        assert one.renew(["c"]) == 6
        assert one.finish("c", [(a, out(1)), (b, Dead("x", "y", 1)), (c, Park(PAST_MS, 1)), (d, Drop())]).done == 4
        assert one.wake() == 1
        assert store.replay(IN, "one") == 1
        assert one.hand_back("c", [e]) == 2
        clean, suspect = one.take_over("next", 3_600_000, 10)
        assert (len(clean), suspect) == (2, [])
        back = one.read("next", 10, 0)
        assert one.finish("next", [(entry, Drop()) for entry in clean + back]).done == 4
        finish(two, "c", two.read("c", 10, 0), out(2))
        store.relieve()
        assert (mids(store), drifts(store)) == ([], [])

    def test_what_the_dead_held_is_inherited(self, store: Store) -> None:
        put(store, 1, 2, 3)
        hop = store.hop("one")
        finish(hop, "idle", hop.read("idle", 1, 0), Drop())
        held = hop.read("dead", 10, 0)
        store.fill()
        assert hop.inherit("heir", "idle") == []
        assert hop.inherit("heir", "dead") == held
        assert hop.sweep(0) == 0
        assert hop.finish("heir", [(entry, Drop()) for entry in held]).done == 2
        hop.sweep(0)
        store.relieve()
        assert (store.view(IN).groups[0].handled, store.view(IN).groups[0].filtered) == (0, 3)

    def test_an_edge_between_streams_of_one_server_drains(self, store: Store) -> None:
        put(store, 1, 2, 3, stream=SIDE)
        lane = store.lane()
        store.fill()
        lease = lane.acquire("n1", LONG_MS, "line")
        store.target().handshake(lease.lineage, lease.epoch)
        frozen = freeze(lane, lease)
        assert lane.extend(lease, LONG_MS)
        assert place(store, lane, lease, frozen)
        lane.settle(lease, LONG_MS, frozen, 2, [Refused(frozen.first, "no")])
        lane.pause("so that someone looks")
        store.relieve()
        assert (mids(store, SIDE), len(mids(store, LAST)), drifts(store, SIDE)) == ([], 3, [])

    def test_a_lost_group_is_made_again(self, store: Store) -> None:
        put(store, 1)
        store.lose_group(store.keys.stream(IN), "one")
        store.fill()
        store.apply()
        assert len(store.hop("one").read("c", 10, 0)) == 1
        store.relieve()


class StoreContract(
    DoorContract,
    HopContract,
    ApartContract,
    OwnershipContract,
    DeletionContract,
    EdgeContract,
    MemoryLimitContract,
):
    """All of it."""
