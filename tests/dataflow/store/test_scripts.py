"""A script that cannot be carried out writes nothing: wrong types, sizes beyond the cap, foreign entries."""

from __future__ import annotations

import pytest
from redis.exceptions import ResponseError

from dataflow.errors import DataflowError, NotDeclared
from dataflow.store import declare
from dataflow.store.door import Outgoing, Stamp
from dataflow.store.keys import Keys
from dataflow.store.outcomes import Dead, Drop, Entry, Out, Outcome, Park
from dataflow.store.packing import pack, packed
from dataflow.store.redis import call
from dataflow.store.script import script
from tests.dataflow.store.stores import FLOW, IN, OUT, SIDE, RealStore, drifts, message, mids

pytestmark = pytest.mark.integration

BELOW_CAP, ABOVE_CAP = 3500, 3501
"""Fields of the largest message that a script takes, and of one that it refuses."""


def everything(store: RealStore) -> dict[bytes, object]:
    """The whole database."""
    found: dict[bytes, object] = {}
    for key in sorted(call(store.client, "KEYS", "*")):
        found[key] = call(store.client, "DUMP", key)
    return found


def large(fields: int) -> list[bytes]:
    return [part for n in range(fields) for part in (b"f%d" % n, b"v")]


def spoil(store: RealStore, key: str) -> None:
    """Put something else under a key."""
    call(store.client, "DEL", key)
    call(store.client, "SET", key, "something else")


KEYS = Keys(FLOW.name)
FINISH_KEYS = [
    KEYS.stream(IN).groups, KEYS.stream(IN).counts, KEYS.attempts(IN, "one"), KEYS.parked(IN, "one"),
    KEYS.dead(IN, "one").stream, KEYS.dead(IN, "one").counts, KEYS.stream(OUT).stream, KEYS.stream(OUT).counts,
    KEYS.stream(SIDE).stream,
]  # fmt: skip


@pytest.mark.parametrize("key", FINISH_KEYS)
def test_finish_with_a_wrong_key_writes_nothing(store: RealStore, key: str) -> None:
    store.door().append([message(n) for n in range(4)])
    hop = store.hop("one")
    a, b, c, d = hop.read("c", 10, 0)
    spoil(store, key)
    before = everything(store)
    rows: list[tuple[Entry, Outcome]] = [
        (a, Out([(0, message(1).fields), (1, message(1).fields)])),
        (b, Dead("x", "y", 1)),
        (c, Park(1, 1)),
        (d, Drop()),
    ]
    with pytest.raises((DataflowError, ResponseError)):
        hop.finish("c", rows)
    assert everything(store) == before


@pytest.mark.parametrize("key", [KEYS.stream(OUT).stream, KEYS.stream(OUT).counts])
def test_append_with_a_wrong_key_writes_nothing(store: RealStore, key: str) -> None:
    spoil(store, key)
    before = everything(store)
    with pytest.raises((DataflowError, ResponseError)):
        store.door().append([message(1), message(2, OUT), message(3)])
    assert everything(store) == before


REPLAY_KEYS = [
    KEYS.dead(IN, "one").counts, KEYS.retry(IN, "one").stream, KEYS.retry(IN, "one").counts, KEYS.stream(IN).counts,
]  # fmt: skip


@pytest.mark.parametrize("key", REPLAY_KEYS)
def test_replay_with_a_wrong_key_writes_nothing(store: RealStore, key: str) -> None:
    store.door().append([message(1)])
    hop = store.hop("one")
    hop.finish("c", [(entry, Dead("x", "y", 1)) for entry in hop.read("c", 10, 0)])
    spoil(store, key)
    before = everything(store)
    with pytest.raises((DataflowError, ResponseError)):
        store.replay(IN, "one")
    assert everything(store) == before


@pytest.mark.parametrize("key", [KEYS.retry(IN, "one").stream, KEYS.retry(IN, "one").counts])
def test_wake_with_a_wrong_key_writes_nothing(store: RealStore, key: str) -> None:
    store.door().append([message(1)])
    hop = store.hop("one")
    hop.finish("c", [(entry, Park(1, 1)) for entry in hop.read("c", 10, 0)])
    spoil(store, key)
    before = everything(store)
    with pytest.raises((DataflowError, ResponseError)):
        hop.wake()
    assert everything(store) == before


def test_apply_with_a_wrong_key_says_which(store: RealStore) -> None:
    spoil(store, KEYS.stream(IN).groups)
    with pytest.raises(NotDeclared, match=r"a\.stream_in"):
        store.apply()


def test_append_takes_a_message_of_the_cap_and_refuses_one_more(store: RealStore) -> None:
    store.door().append([message(1), Outgoing(IN, large(BELOW_CAP))])
    before = everything(store)
    with pytest.raises(ResponseError, match="7002 arguments"):
        store.door().append([message(1), Outgoing(IN, large(ABOVE_CAP))])
    assert everything(store) == before


def test_the_cap_counts_what_a_stamp_adds(store: RealStore) -> None:
    stamp = Stamp("r", "hub@1")
    store.door().append([Outgoing(IN, large(BELOW_CAP)[4:])], stamp=stamp)
    before = everything(store)
    with pytest.raises(ResponseError, match="7002 arguments"):
        store.door().append([Outgoing(IN, []), Outgoing(IN, large(ABOVE_CAP)[4:])], stamp=stamp)
    assert everything(store) == before


def test_a_batch_without_paths_cannot_get_a_hop(store: RealStore) -> None:
    target = store.target()
    before = everything(store)
    with pytest.raises(ResponseError, match="no path"):
        target.place("line", 1, 1, "d", [b"1-1"], target.pack([(0, [b"_mid", b"m", b"n", b"1"])]), hop="copy@1")
    assert everything(store) == before


def test_finish_takes_a_message_of_the_cap_and_refuses_one_more(store: RealStore) -> None:
    store.door().append([message(1)])
    hop = store.hop("one")
    entries = hop.read("c", 10, 0)
    before = everything(store)
    with pytest.raises(ResponseError, match="7002 arguments"):
        hop.finish("c", [(entry, Out([(0, message(1).fields), (0, large(ABOVE_CAP))])) for entry in entries])
    assert everything(store) == before
    assert hop.finish("c", [(entry, Out([(0, large(BELOW_CAP))])) for entry in entries]).done == 1


@pytest.mark.parametrize("fields", [BELOW_CAP - 4, BELOW_CAP])
@pytest.mark.parametrize("outcome", [Dead("x", "y", 1), Park(1, 1)])
def test_a_long_entry_of_another_program_comes_back(store: RealStore, fields: int, outcome: Dead | Park) -> None:
    call(store.client, "XADD", KEYS.stream(IN).stream, "*", *large(fields))
    hop = store.hop("one")
    hop.finish("c", [(entry, outcome) for entry in hop.read("c", 10, 0)])
    assert hop.wake() + store.replay(IN, "one") == 1
    (back,) = hop.read("c", 10, 0)
    assert back.fields[6 if isinstance(outcome, Park) else 4 :] == large(fields)
    assert drifts(store, foreign=True) == []


@pytest.mark.parametrize("outcome", [Dead("x", "y", 1), Park(1, 1)])
def test_an_entry_that_no_script_can_carry_is_kept_whole_as_a_dead_letter(
    store: RealStore, outcome: Dead | Park
) -> None:
    fields = [*large(5000), b"bytes", b"\xff\x00", b"long", b"x" * 70_000]
    call(store.client, "XADD", KEYS.stream(IN).stream, "*", *fields)
    hop = store.hop("one")
    assert hop.finish("c", [(entry, outcome) for entry in hop.read("c", 10, 0)]).done == 1
    (letter,) = store.letters(IN, "one")
    assert (len(letter.fields), letter.fields["f4999"], letter.fields["bytes"]) == (5002, "v", "\\xff\x00")
    assert (len(letter.fields["long"]), letter.replayable) == (70_000, False)
    assert letter.reason == ("x" if isinstance(outcome, Dead) else "too_many_fields")
    assert store.replay(IN, "one") == 0
    assert drifts(store, foreign=True) == []


def test_a_dead_letter_is_replayed_to_a_declared_reader_only(store: RealStore) -> None:
    store.door().append([message(1)])
    hop = store.hop("one")
    hop.finish("c", [(entry, Dead("x", "y", 1)) for entry in hop.read("c", 10, 0)])
    assert declare.undeclare(store.client, store.keys, IN, "one") == 0
    with pytest.raises(NotDeclared, match="no reader"):
        store.replay(IN, "one")
    store.apply()
    assert store.replay(IN, "one") == 1


def test_a_reader_with_messages_is_let_go_of_only_when_asked(store: RealStore) -> None:
    store.door().append([message(n) for n in range(6)])
    hop = store.hop("one")
    a, b, _ = hop.read("c", 3, 0)
    hop.finish("c", [(a, Drop()), (b, Park(1, 1))])
    assert declare.undeclare(store.client, store.keys, IN, "one") == 5
    assert declare.undeclare(store.client, store.keys, IN, "one", release=True) == 0
    counts = store.view(IN).books.counts
    assert (counts["one.filtered"], counts["one.released"]) == (1, 5)
    assert mids(store) == [f"m{n}" for n in range(6)]
    assert call(store.client, "KEYS", "*retry:one*") == []


def test_the_books_of_a_reader_that_comes_back_are_balanced(store: RealStore) -> None:
    store.door().append([message(n) for n in range(6)])
    one, two = store.hop("one"), store.hop("two")
    entries = one.read("c", 3, 0)
    one.finish("c", [(entries[0], Drop()), (entries[1], Dead("x", "y", 1)), (entries[2], Park(1, 1))])
    two.finish("c", [(entry, Drop()) for entry in two.read("c", 2, 0)])
    declare.undeclare(store.client, store.keys, IN, "one", release=True)
    store.door().append([message(9)])
    store.apply()
    assert drifts(store) == []
    again = one.read("c", 10, 0)
    assert len(again) == 5
    one.finish("c", [(entry, Drop()) for entry in again])
    assert store.replay(IN, "one") == 1
    assert drifts(store) == []


def test_the_lane_of_an_edge_is_forgotten_with_its_edge(store: RealStore) -> None:
    store.door().append([message(1, SIDE)])
    lane = store.lane()
    lane.acquire("n1", 60_000, "line")
    assert declare.undeclare(store.client, store.keys, SIDE, "copy") == 1
    assert lane.state() == ("line", 0)
    declare.undeclare(store.client, store.keys, SIDE, "copy", release=True)
    assert lane.state() == ("", 0)
    store.apply()
    assert lane.acquire("n2", 60_000, "line2").lineage == "line2"


def test_an_edge_does_not_run_on_another_stream_before_it_let_go(store: RealStore) -> None:
    store.lane().acquire("n1", 0, "line")
    call(store.client, "HSET", KEYS.edge("copy"), "stream", "former.stream_in")
    with pytest.raises(NotDeclared, match="has not let go of stream 'former"):
        store.lane().acquire("n2", 0, "line")


def test_an_entry_that_becomes_nothing_known_is_refused(store: RealStore) -> None:
    store.door().append([message(1)])
    (entry,) = store.hop("one").read("c", 1, 0)
    at, dead = store.keys.stream(IN), store.keys.dead(IN, "one")
    keys = [at.stream, at.groups, at.counts, at.counts, store.keys.attempts(IN, "one"), dead.stream, dead.counts]
    before = everything(store)
    with pytest.raises(ResponseError, match="cannot become lost"):
        arguments = ["one", "c", "main", "0", pack([entry.id, "lost"]), packed([])]
        script("finish").run(store.client, [*keys, store.keys.parked(IN, "one")], arguments)
    assert everything(store) == before
