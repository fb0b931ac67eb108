"""A worker that gets another name goes on where it stood: with what was pending, what came back and what died."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
from redis.exceptions import ResponseError

from dataflow.errors import Fenced, NotDeclared, UserError
from dataflow.flow.load import loads
from dataflow.store.declare import Applied, apply, declare, undeclare
from dataflow.store.handover import Handover
from dataflow.store.outcomes import Dead, Entry, Out, Park
from dataflow.store.redis import call
from tests.dataflow.store.stores import FLOW, IN, OUT, TEXT, RealStore, drifts, message, mid

pytestmark = pytest.mark.integration

HANDLED = Out(((0, message("out", OUT).fields),))
NAMED = loads(TEXT.replace("  one: {", "  first: {"), FLOW.path)


@pytest.fixture
def renamed(store: RealStore) -> RealStore:
    """The same store after the flow was applied with another name; `rename` does it."""
    return replace(store, flow=NAMED)


def fill(store: RealStore, count: int) -> None:
    store.door().append([message(n) for n in range(count)])


def rename(store: RealStore) -> Applied:
    return apply(NAMED, store.client)


def everything(store: RealStore, name: str) -> list[Entry]:
    """All that a reader has to do: from the bench, and new."""
    hop = store.hop(name)
    handed, suspects = hop.take_over("c", 60_000, 100)
    assert suspects == []
    return handed + hop.read("c", 100, 0)


def test_what_was_pending_and_what_was_not_read_comes_once(store: RealStore, renamed: RealStore) -> None:
    fill(store, 10)
    hop = store.hop("one")
    begun = hop.read("old", 4, 0)
    hop.finish("old", [(begun[0], HANDLED)])
    assert rename(store).renamed == {"first": "one"}
    todo = everything(renamed, "first")
    assert [mid(entry.fields) for entry in todo] == [f"m{n}" for n in range(1, 10)]
    renamed.hop("first").finish("c", [(entry, HANDLED) for entry in todo])
    assert len(renamed.fields(renamed.keys.stream(OUT))) == 10
    assert drifts(renamed) == []


def test_who_still_works_under_the_former_name_writes_nothing(store: RealStore, renamed: RealStore) -> None:
    fill(store, 3)
    hop = store.hop("one")
    begun = hop.read("old", 3, 0)
    rename(store)
    with pytest.raises(NotDeclared):
        hop.finish("old", [(entry, HANDLED) for entry in begun])
    assert renamed.fields(renamed.keys.stream(OUT)) == []
    assert len(everything(renamed, "first")) == 3
    assert drifts(renamed) == []


def test_what_waits_for_its_back_off_and_dead_letters_come_with_it(store: RealStore, renamed: RealStore) -> None:
    fill(store, 4)
    hop = store.hop("one")
    a, b, c, d = hop.read("old", 4, 0)
    hop.finish("old", [(a, Park(0, 1)), (b, Park(2**42, 1)), (c, Dead("handler_failed", "why", 3))])
    assert hop.wake() == 1
    hop.begin("old", d)
    rename(store)
    first = renamed.hop("first")
    assert {entry.lane for entry in everything(renamed, "first")} == {"retry", "main"}
    assert first.attempts(d) == 1
    (view,) = [group for group in renamed.view(IN).groups if group.name == "first"]
    assert (view.parked, view.dead, view.waiting) == (1, 1, 3)
    assert renamed.replay(IN, "first") == 1
    assert drifts(renamed) == []


def test_a_group_that_was_lost_is_made_where_it_stood(store: RealStore, renamed: RealStore) -> None:
    fill(store, 5)
    hop = store.hop("one")
    begun = hop.read("old", 2, 0)
    hop.finish("old", [(entry, HANDLED) for entry in begun])
    store.lose_group(store.keys.stream(IN), "one")
    rename(store)
    assert len(everything(renamed, "first")) == 3


def test_an_entry_that_was_deleted_by_hand_is_counted_as_lost(store: RealStore, renamed: RealStore) -> None:
    fill(store, 3)
    begun = store.hop("one").read("old", 3, 0)
    store.remove_by_hand(IN, begun[1].id)
    rename(store)
    assert len(everything(renamed, "first")) == 2
    (view,) = [group for group in renamed.view(IN).groups if group.name == "first"]
    assert view.lost == 1


def test_nothing_is_left_under_the_former_name(store: RealStore) -> None:
    fill(store, 3)
    store.hop("one").read("old", 3, 0)
    rename(store)
    left = [key.decode() for key in call(store.client, "KEYS", "*") if key.decode().endswith(":one")]
    assert [key for key in left if ":dead:" not in key] == []
    assert call(store.client, "HEXISTS", store.keys.stream(IN).groups, "one") == 0


def test_with_a_wrong_key_nothing_is_written(store: RealStore) -> None:
    fill(store, 3)
    store.hop("one").read("old", 2, 0)
    retry = store.keys.retry(IN, "one").counts
    call(store.client, "DEL", retry)
    call(store.client, "SET", retry, "something else")
    before = {key: call(store.client, "DUMP", key) for key in call(store.client, "KEYS", "*")}
    with pytest.raises(ResponseError, match="WRONGTYPE"):
        rename(store)
    assert {key: call(store.client, "DUMP", key) for key in call(store.client, "KEYS", "*")} == before


def test_another_worker_takes_the_place_of_the_one_that_was_dropped(store: RealStore) -> None:
    """What that had finished is done; what it has in hand and the rest is left to its successor."""
    fill(store, 10)
    hop = store.hop("one")
    begun = hop.read("old", 4, 0)
    hop.finish("old", [(begun[0], HANDLED)])
    other = loads(TEXT.replace("  one: {", "  first: {").replace("steps:one", "steps:other"), FLOW.path)
    done = apply(other, store.client)
    assert (done.renamed, done.held) == ({"first": "one"}, [])
    successor = replace(store, flow=other)
    assert len(everything(successor, "first")) == 9
    assert drifts(successor) == []


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text.replace("  one: {", "  x: {").replace("  two: {", "  one: {").replace("  x: {", "  two: {"),
        lambda text: text.replace("  two: {", "  three: {").replace("  one: {", "  two: {"),
    ],
    ids=["exchanged", "passed on"],
)
def test_names_that_go_from_one_to_another_are_refused(store: RealStore, change: Callable[[str], str]) -> None:
    before = {key: call(store.client, "DUMP", key) for key in call(store.client, "KEYS", "*")}
    with pytest.raises(UserError, match="apply it in two steps"):
        apply(loads(change(TEXT), FLOW.path), store.client)
    assert {key: call(store.client, "DUMP", key) for key in call(store.client, "KEYS", "*")} == before


def test_of_two_renames_both_happen_or_none(store: RealStore) -> None:
    fill(store, 3)
    letters = store.keys.dead(IN, "second").stream
    hop = store.hop("two")
    hop.finish("old", [(hop.read("old", 1, 0)[0], Dead("handler_failed", "why", 3))])
    call(store.client, "XADD", letters, "*", "_mid", "older")
    with pytest.raises(NotDeclared, match="'second' is to go on where 'two' stood"):
        apply(loads(TEXT.replace("  one: {", "  first: {").replace("  two: {", "  second: {"), FLOW.path), store.client)
    assert call(store.client, "HKEYS", store.keys.stream(IN).groups) == [b"one", b"two"]
    assert drifts(store) == []


def test_who_applies_at_the_same_time_waits(store: RealStore) -> None:
    """Two flow files are applied over and over by many at once: at the end one of the two stands, and all is there."""
    fill(store, 40)
    hop = store.hop("one")
    begun = hop.read("old", 20, 0)
    hop.finish("old", [(entry, HANDLED) for entry in begun[:10]])
    for _ in range(10):
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(lambda flow: apply(flow, store.client), [FLOW, NAMED, FLOW, NAMED]))
    name = "one" if call(store.client, "HEXISTS", store.keys.stream(IN).groups, "one") else "first"
    flow = FLOW if name == "one" else NAMED
    assert len(everything(replace(store, flow=flow), name)) == 30
    assert drifts(replace(store, flow=flow)) == []


def test_who_was_stopped_for_longer_than_its_turn_changes_nothing_more(
    store: RealStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It had handed over; until it goes on, another flow file was applied, and that one stands."""
    fill(store, 10)
    carry_out = Handover.carry_out

    def slowly(self: Handover) -> None:
        carry_out(self)
        monkeypatch.setattr(Handover, "carry_out", carry_out)
        call(store.client, "DEL", store.keys.applying)  # as if its turn had run out
        rename(store)

    monkeypatch.setattr(Handover, "carry_out", slowly)
    with pytest.raises(Fenced, match="and that flow stands"):
        store.apply()
    assert set(call(store.client, "HKEYS", store.keys.stream(IN).groups)) == {b"first", b"two"}
    assert len(everything(replace(store, flow=NAMED), "first")) == 10
    assert drifts(replace(store, flow=NAMED)) == []


def test_what_belongs_to_another_turn_changes_nothing(store: RealStore) -> None:
    before = call(store.client, "HGETALL", store.keys.stream(IN).groups)
    with pytest.raises(Fenced):
        declare(NAMED, store.client, IN, create=True, turn="of somebody")
    with pytest.raises(Fenced):
        undeclare(store.client, store.keys, IN, "one", release=True, turn="of somebody")
    assert call(store.client, "HGETALL", store.keys.stream(IN).groups) == before
