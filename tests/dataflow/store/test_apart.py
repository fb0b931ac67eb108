"""Names of questions in a consumer group: what Redis is told of them, and that none is left behind."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from dataflow.errors import NotDeclared
from dataflow.store.apart import REMEMBERED, Apart
from dataflow.store.hop import Hop
from dataflow.store.outcomes import Drop, Entry
from dataflow.store.redis import call
from tests.dataflow.store.store_contract import out, put
from tests.dataflow.store.stores import IN, OUT, TARGETS, RealStore, mids

pytestmark = pytest.mark.integration


def names(store: RealStore, group: str = "one") -> set[bytes]:
    rows = call(store.client, "XINFO", "CONSUMERS", store.keys.stream(IN).stream, group)
    return {row[1] for row in rows}


def apart(store: RealStore) -> set[bytes]:
    return {name for name in names(store) if name.startswith(b"c#")}


def calls(store: RealStore, command: str) -> int:
    """How often the server has run a command, in scripts or not."""
    text: bytes = call(store.client, "INFO", "commandstats")
    found = [line for line in text.split() if line.startswith(f"cmdstat_{command}:".encode())]
    return sum(int(line.split(b"calls=")[1].split(b",")[0]) for line in found)


def finish_all(hop: Hop, entries: list[Entry]) -> None:
    hop.finish("c", [(entry, Drop()) for entry in entries])


def finish_singly(hop: Hop, entries: list[Entry]) -> None:
    for entry in entries:
        hop.finish("c", [(entry, Drop())])


ENDS: dict[str, Callable[[Hop, list[Entry]], object]] = {
    "finished": finish_all,
    "finished singly": finish_singly,
    "finished in another order": lambda hop, entries: finish_all(hop, entries[::-1]),
    "recovered": lambda hop, entries: hop.recover("c"),
    "inherited": lambda hop, entries: hop.inherit("heir", "c"),
    "taken over": lambda hop, entries: hop.take_over("heir", 0, 10),
    "handed back": lambda hop, entries: hop.hand_back("c"),
}


@pytest.mark.parametrize("end", ENDS)
def test_a_name_goes_with_its_batch(store: RealStore, end: str) -> None:
    put(store, 1, 2, 3)
    hop = store.hop("one")
    entries = hop.read("c", 10, 0, apart=True)
    assert len(apart(store)) == 1
    ENDS[end](hop, entries)
    assert apart(store) == set()


def test_a_name_stays_while_it_holds_something(store: RealStore) -> None:
    put(store, 1, 2, 3)
    hop = store.hop("one")
    entries = hop.read("c", 10, 0, apart=True)
    finish_all(hop, entries[:2])
    hop.take_over("other", 3_600_000, 10)
    hop.sweep(0)
    assert len(apart(store)) == 1
    assert hop.recover("c") == entries[2:]


def test_a_name_that_was_never_given_anything_goes_with_its_process(store: RealStore) -> None:
    hop = store.hop("one")
    assert hop.read("c", 10, 0, apart=True) == []
    hop.hand_back("c")
    assert names(store) == set()


def test_the_owner_of_a_batch_is_its_consumer(store: RealStore) -> None:
    put(store, 1, 2)
    hop = store.hop("one")
    hop.read("host#1|2", 1, 0, apart=True)
    hop.read("host#1|2", 1, 0)
    assert hop.owners() == {"host#1|2"}


def test_no_name_is_taken_for_that_of_another(store: RealStore) -> None:
    put(store, *range(4))
    hop = store.hop("one")
    (a,) = hop.read("c", 1, 0, apart=True)
    (b,) = hop.read("c#1x", 1, 0)
    hop.read("cc", 1, 0, apart=True)
    hop.read("c1", 1, 0)
    assert hop.recover("c") == [a]
    assert hop.finish("c", [(b, Drop())]).lost == [b.id]
    assert hop.hand_back("c") == 1


def test_a_whole_batch_is_not_looked_at_one_by_one(store: RealStore) -> None:
    put(store, 1, 2, 3)
    hop = store.hop("one")
    entries = hop.read("c", 10, 0, apart=True)
    before = calls(store, "xack")
    assert hop.finish("c", [(entry, out(1)) for entry in entries]).done == 3
    assert calls(store, "xack") == before


def test_what_redis_does_not_hold_for_it_is_not_written(store: RealStore) -> None:
    """As after a server lost its last writes: the name is unknown, or has less."""
    put(store, 1, 2)
    hop = store.hop("one")
    entries = hop.read("c", 10, 0, apart=True)
    (name,) = names(store)
    call(store.client, "XGROUP", "DELCONSUMER", store.keys.stream(IN).stream, "one", name)
    done = hop.finish("c", [(entry, out(1)) for entry in entries])
    assert (done.done, done.lost, mids(store, OUT)) == (0, [entry.id for entry in entries], [])


def test_what_is_found_again_is_in_the_order_of_the_stream(store: RealStore) -> None:
    put(store, *range(4))
    hop = store.hop("one")
    held = hop.read("c", 1, 0) + hop.read("c", 2, 0, apart=True) + hop.read("c", 1, 0)
    assert hop.recover("c") == held


def test_as_many_of_another_question_do_not_count(store: RealStore) -> None:
    put(store, *range(4))
    hop = store.hop("one")
    first = hop.read("c", 2, 0, apart=True)
    hop.take_over("other", 0, 2)
    hop.read("c", 2, 0, apart=True)
    done = hop.finish("c", [(entry, out(1)) for entry in first])
    assert (done.done, done.lost, mids(store, OUT)) == (0, [entry.id for entry in first], [])


def test_two_who_go_by_one_name_are_told_apart(store: RealStore) -> None:
    """As may happen in tests; a process has one Hop for its consumer."""
    put(store, *range(4))
    first, second = (Hop(store.client, store.keys, IN, "one", TARGETS["one"]) for _ in range(2))
    held = first.read("c", 2, 0, apart=True)
    first.take_over("other", 0, 2)
    second.read("c", 2, 0, apart=True)
    done = first.finish("c", [(entry, out(1)) for entry in held])
    assert (done.done, len(done.lost), mids(store, OUT)) == (0, 2, [])


@pytest.mark.parametrize("step", ["recover", "hand_back", "renew", "sweep", "finish"])
def test_a_stream_that_is_gone_is_told(store: RealStore, step: str) -> None:
    put(store, 1)
    hop = store.hop("one")
    (entry,) = hop.read("c", 10, 0, apart=True)
    call(store.client, "DEL", store.keys.stream(IN).stream)
    steps: dict[str, Callable[[], object]] = {
        "recover": lambda: hop.recover("c"),
        "hand_back": lambda: hop.hand_back("c"),
        "renew": lambda: hop.renew(["c"]),
        "sweep": lambda: hop.sweep(0),
        "finish": lambda: hop.finish("c", [(entry, out(1))]),
    }
    with pytest.raises(NotDeclared):
        steps[step]()
    assert mids(store, OUT) == []


def entries(*ids: bytes) -> list[Entry]:
    return [Entry("main", id_, []) for id_ in ids]


class TestNames:
    """Which question has which name."""

    def test_no_name_is_used_again_but_for_no_answer(self) -> None:
        apart = Apart()
        assert apart.name("c") != Apart().name("c")
        first, second = apart.name("c"), apart.name("c")
        apart.answered(first, entries(b"1-0"))
        third = apart.name("c")  # the second has no answer: it may still come to Redis
        apart.answered(third, [])
        assert len({first, second, third}) == 3
        assert apart.name("d") not in {first, second, third}
        assert apart.name("c") == third
        assert apart.name("c") not in {first, second, third}

    def test_a_name_is_that_of_all_that_was_given_and_told_once(self) -> None:
        apart = Apart()
        name = apart.name("c")
        given = entries(b"1-0", b"2-0", b"3-0")
        apart.answered(name, given)
        others = [given[:2], given[1:], given[::-1], [*given, *entries(b"4-0")], entries(b"1-0", b"2-0", b"4-0"), []]
        assert [apart.name_of("c", other) for other in others] == [""] * 6
        assert apart.name_of("d", given) == ""
        assert [apart.name_of("c", given), apart.name_of("c", given)] == [name, ""]

    def test_only_the_last_answers_are_remembered(self) -> None:
        apart = Apart()
        given = [entries(b"%d-0" % n) for n in range(REMEMBERED + 1)]
        for one in given:
            apart.answered(apart.name("c"), one)
        assert [bool(apart.name_of("c", one)) for one in given] == [False] + [True] * REMEMBERED
