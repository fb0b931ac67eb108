"""The audit's arithmetic on tables of numbers, and the audit of real stores that someone has tampered with."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from dataflow.audit import (
    Finding,
    Sent,
    audit,
    check_books,
    check_collection,
    check_lane,
    check_reader,
    check_table,
    check_writer,
    is_clean,
)
from dataflow.errors import ServerAway
from dataflow.flow.load import loads
from dataflow.rebase import history, rebase
from dataflow.store.outcomes import Dead, Drop, Entry, Out, Park
from dataflow.store.reading import Books, GroupView, LaneView, OpenBatch
from dataflow.store.redis import call
from tests.dataflow.store.store_contract import freeze, place
from tests.dataflow.store.stores import IN, LAST, OUT, SIDE, TEXT, RealStore, message, mid

NONE = Books(True, 0, 0, {})


def books(length: int, added: int | None, **counts: int) -> Books:
    return Books(True, length, added, {name.replace("from_", "from."): n for name, n in counts.items()})


def group(**numbers: Any) -> GroupView:
    zero = dict.fromkeys(
        ("joined", "undelivered", "pending", "retry_undelivered", "retry_pending", "parked", "handled", "filtered",
         "dead", "released", "lost", "out"), 0,
    )  # fmt: skip
    rest: dict[str, Any] = {
        "name": "one", "declared": True, "exists": True, "next_due_ms": None, "last_delivered": "0-0",
        "retry": NONE, "retry_exists": True, "dead_letters": NONE,
    }  # fmt: skip
    return GroupView(**{**zero, **rest, **numbers})


def states(findings: list[Finding]) -> list[tuple[str, int]]:
    return [(finding.state, finding.drift) for finding in findings]


@pytest.mark.parametrize(
    ("it", "expected"),
    [
        (books(3, 10, removed=7, from_door=10), [("ok", 0), ("ok", 0)]),
        (books(2, 10, removed=7, from_door=10), [("drift", 1), ("ok", 0)]),
        (books(4, 10, removed=7, from_door=10), [("drift", -1), ("ok", 0)]),
        (books(3, 10, removed=7, from_door=8), [("ok", 0), ("note", 2)]),
        (books(3, 10, removed=7, from_door=8, from_one=3), [("ok", 0), ("drift", -1)]),
        (books(3, None, removed=7, from_door=8, from_one=2), [("ok", 0)]),
        (books(2, None, removed=7, from_door=10), [("drift", 1)]),
        (books(5, None, removed=7, from_door=10), [("note", -2)]),
        (Books(False, 0, None, {}), [("ok", 0)]),
        (Books(False, 0, None, {"from.door": 2}), [("drift", 2)]),
    ],
)
def test_the_books_of_a_stream(it: Books, expected: list[tuple[str, int]]) -> None:
    assert states(check_books("stream", "s", it)) == expected


WAYS = {
    "undelivered": 1, "pending": 2, "retry_undelivered": 3, "retry_pending": 4, "parked": 5, "handled": 6,
    "filtered": 7, "released": 8, "lost": 9,
}  # fmt: skip


def test_every_way_a_message_can_be_in_counts() -> None:
    added = 100 + sum(WAYS.values())
    it = group(joined=100, **WAYS)
    assert is_clean(check_reader("s", books(0, added), it))
    for way, n in WAYS.items():
        for change in (-1, 1):
            other = group(joined=100, **{**WAYS, way: n + change})
            assert states(check_reader("s", books(0, added), other))[0] == ("drift", -change)


@pytest.mark.parametrize(
    ("it", "wrong"),
    [
        (group(dead=2, dead_letters=books(2, 2, from_one=2)), []),
        (group(dead=2, dead_letters=books(1, 2, from_one=2, removed=1)), ["dead = in the stream"]),
        (group(dead=2, dead_letters=books(1, 2, from_one=2)), ["added = in it + removed", "dead = in the stream"]),
        (group(exists=False), ["group exists", "added - joined = waiting + finished"]),
        (group(retry_exists=False), ["group exists", "added - joined = waiting + finished"]),
        (group(retry=books(0, 1, from_dead=1)), ["added = in it + removed", "added - joined = waiting + finished"]),
    ],
)
def test_what_is_wrong_with_a_reader(it: GroupView, wrong: list[str]) -> None:
    found = check_reader("s", books(0, 2), it)
    assert sorted(finding.equation for finding in found if finding.state == "drift") == sorted(wrong)


def test_a_reader_that_is_not_declared_is_not_checked() -> None:
    (finding,) = check_reader("s", books(0, 5), group(declared=False, exists=False))
    assert (finding.state, "dataflow apply" in finding.text) == ("unchecked", True)


@pytest.mark.parametrize(
    ("sent", "before", "after", "expected"),
    [
        (Sent(10, 10), 10, 10, ("ok", 0)),
        (Sent(10, 12), 10, 12, ("ok", 0)),
        (Sent(10, 12, 5), 17, 17, ("ok", 0)),
        (Sent(10, 10), 9, 9, ("drift", 1)),
        (Sent(10, 10, 5), 16, 16, ("drift", -1)),
        (Sent(10, 10), 9, 10, ("ok", 0)),
    ],
)
def test_a_writer(sent: Sent, before: int, after: int, expected: tuple[str, int]) -> None:
    assert states([check_writer("one", sent, before, after)]) == [expected]


def test_a_lane() -> None:
    lane = LaneView("copy", "retry", "line", 2, 1, "5-0", None, 10, 10, "", "", 0)
    assert states([check_lane(lane)]) == [("ok", 0)]
    assert states([check_lane(replace(lane, settled=7))]) == [("drift", 3)]
    assert states([check_lane(replace(lane, settled=7, open=OpenBatch(3, 3, 0)))]) == [("ok", 0)]
    assert check_lane(lane).subject == "copy (retry)"


@pytest.mark.parametrize(
    ("sent", "rows", "mids", "options", "expected"),
    [
        (Sent(10, 10), 10, 10, {}, [("ok", 0), ("ok", 0)]),
        (Sent(10, 10), 9, 9, {}, [("drift", 1), ("ok", 0)]),
        (Sent(10, 10), 11, 10, {}, [("drift", -1), ("drift", 1)]),
        (Sent(10, 10), 11, 10, {"may_repeat": True}, [("note", -1), ("note", 1)]),
        (Sent(10, 12, 5), 17, 17, {}, [("ok", 0), ("ok", 0)]),
        (Sent(10, 10), 10, 5, {"alone": False}, [("ok", 0)]),
    ],
)
def test_a_table(
    sent: Sent, rows: int, mids: int, options: Mapping[str, bool], expected: list[tuple[str, int]]
) -> None:
    found = check_table("scores", sent, rows, mids, **{"may_repeat": False, "alone": True, **options})
    assert states(found) == expected


class Counted:
    """A warehouse of which only the numbers are known."""

    def __init__(self, rows: int | None, mids: int | None = None) -> None:
        self._rows, self._mids = rows, rows if mids is None else mids

    def count(self, table: str) -> tuple[int, int]:
        if self._rows is None or self._mids is None:
            raise ServerAway("the warehouse is away")
        return self._rows, self._mids


FLOW = loads(TEXT, Path("flow.yml"))


def problems(store: RealStore, rows: int | None = 0, mids: int | None = None) -> list[str]:
    """What the whole audit finds wrong."""
    found = audit(FLOW, {"main": store.client}, {"warehouse": Counted(rows, mids)})
    return [f"{f.check} {f.subject} {f.drift:+d}" for f in found if f.state == "drift"]


def live(store: RealStore) -> Iterator[str]:
    """A life in which everything happens to messages; the name of each step comes after it."""
    one, two = store.hop("one"), store.hop("two")
    store.door().append([message(n) for n in range(12)])
    yield "append"
    entries = one.read("c", 8, 0)
    yield "read"
    a, b, c, d, e, f, *_ = entries
    one.finish("c", [(a, both_targets(a)), (b, Drop()), (c, Dead("x", "y", 3)), (d, Park(1, 1)), (e, Park(9**13, 1))])
    yield "finish"
    one.begin("c", f)
    one.hand_back("c", [f])
    yield "hand back"
    clean, _ = one.take_over("c2", 3_600_000, 100)
    yield "take over"
    one.wake()
    yield "wake"
    store.replay(IN, "one")
    yield "replay"
    back = one.read("c2", 100, 0)
    one.finish("c2", [(entry, Drop()) for entry in [*clean, *back]])
    yield "finish the rest"
    two.finish("c", [(entry, Out([(0, entry.fields)])) for entry in two.read("c", 100, 0)])
    yield "the other reader"
    lane = store.lane()
    lease = lane.acquire("n1", 60_000, "line")
    frozen = freeze(lane, lease)
    yield "freeze"
    place(store, lane, lease, frozen)
    yield "place"
    lane.settle(lease, 60_000, frozen, frozen.count, [])
    yield "settle"


def both_targets(entry: Entry) -> Out:
    return Out([(0, [*entry.fields, b"to", b"b"]), (1, [*entry.fields, b"to", b"c"])])


@pytest.mark.integration
def test_the_audit_stays_clean_at_every_step(store: RealStore) -> None:
    assert problems(store) == []
    for step in live(store):
        assert (step, problems(store)) == (step, [])


@pytest.mark.integration
def test_the_audit_stays_clean_while_an_edge_into_a_table_works(store: RealStore) -> None:
    store.door().append([message(n, OUT) for n in range(5)])
    lane = store.lane("archive")
    lease = lane.acquire("n1", 60_000, "line")
    frozen = freeze(lane, lease)
    assert (problems(store, 0), problems(store, 3), problems(store, 5)) == ([], [], [])
    lane.settle(lease, 60_000, frozen, 5, [])
    assert problems(store, 5) == []
    assert problems(store, 4) == ["table warehouse.scores +1"]
    assert problems(store, 6, 5) == ["table warehouse.scores -1", "table warehouse.scores +1"]


@pytest.mark.integration
def test_a_warehouse_that_is_away_is_said_and_is_no_drift(store: RealStore) -> None:
    store.door().append([message(n, OUT) for n in range(5)])
    lane = store.lane("archive")
    lease = lane.acquire("n1", 60_000, "line")
    lane.settle(lease, 60_000, freeze(lane, lease), 5, [])
    found = audit(FLOW, {"main": store.client}, {"warehouse": Counted(None)})
    assert [(f.subject, f.state, f.text) for f in found if f.check == "table"] == [
        ("warehouse.scores", "unchecked", "the warehouse is away")
    ]
    found = audit(FLOW, {"main": store.client}, {})
    assert [f.state for f in found if f.check == "table"] == ["unchecked"]
    assert is_clean(found)


def delete_an_entry(store: RealStore) -> None:
    store.remove_by_hand(IN, store.fields(store.keys.stream(IN))[-1][0])


def delete_an_output(store: RealStore) -> None:
    store.remove_by_hand(OUT, store.fields(store.keys.stream(OUT))[0][0])


def delete_a_dead_letter(store: RealStore) -> None:
    dead = store.keys.dead(IN, "one").stream
    assert call(store.client, "XDEL", dead, store.fields(store.keys.dead(IN, "one"))[0][0]) == 1


def delete_a_parked_message(store: RealStore) -> None:
    assert call(store.client, "ZREMRANGEBYRANK", store.keys.parked(IN, "one"), 0, 0) == 1


def acknowledge_by_hand(store: RealStore) -> None:
    at = store.keys.stream(IN).stream
    ((id_, *_), *_) = call(store.client, "XPENDING", at, "one", "-", "+", 1)
    assert call(store.client, "XACK", at, "one", id_) == 1


def trim_by_hand(store: RealStore) -> None:
    assert call(store.client, "XTRIM", store.keys.stream(IN).stream, "MAXLEN", "=", 10) == 2


def count(stream: str, name: str, by: int) -> Callable[[RealStore], None]:
    def change(store: RealStore) -> None:
        call(store.client, "HINCRBY", store.keys.stream(stream).counts, name, by)

    return change


def lose_the_group(store: RealStore) -> None:
    store.lose_group(store.keys.stream(IN), "one")


TAMPERED = pytest.mark.parametrize(
    ("tamper", "subjects"),
    [
        (delete_an_entry, {"stream a.stream_in"}),
        (delete_an_output, {"stream b.stream_out"}),
        (delete_a_dead_letter, {"dead letters a.stream_in/one"}),
        (delete_a_parked_message, {"reader a.stream_in/one"}),
        (acknowledge_by_hand, {"reader a.stream_in/one"}),
        (trim_by_hand, {"stream a.stream_in"}),
        (count(IN, "one.handled", 1), {"reader a.stream_in/one"}),
        (count(IN, "one.handled", -1), {"reader a.stream_in/one"}),
        (count(IN, "one.out", 1), {"writer one"}),
        (count(SIDE, "from.one", 1), {"writer one", "stream c.stream_out"}),
        (count(IN, "removed", -1), {"stream a.stream_in"}),
    ],
)


@pytest.mark.integration
@TAMPERED
def test_what_is_found_can_be_taken_as_known(
    store: RealStore, tamper: Callable[[RealStore], None], subjects: set[str]
) -> None:
    """Counters alone are changed, it is written down, and the next loss is found again."""
    steps = live(store)
    for _ in range(3):
        next(steps)
    assert rebase(FLOW, {"main": store.client}, {"warehouse": Counted(0)}, "ann@box") == []
    tamper(store)
    before = [store.fields(store.keys.stream(name)) for name in (IN, OUT, SIDE)]
    done = rebase(FLOW, {"main": store.client}, {"warehouse": Counted(0)}, "ann@box")
    assert problems(store) == []
    assert [store.fields(store.keys.stream(name)) for name in (IN, OUT, SIDE)] == before
    recorded = history(FLOW, store.client)
    assert {one.who for one in recorded} == {"ann@box"}
    assert [change for one in reversed(recorded) for change in one.corrections] == done
    for step in steps:
        assert (step, problems(store)) == (step, [])
    store.door().append([message("late")])
    delete_an_entry(store)
    assert problems(store) != []


@pytest.mark.integration
def test_what_is_no_question_of_counting_stays_a_drift(store: RealStore) -> None:
    store.door().append([message(n, OUT) for n in range(5)])
    lane = store.lane("archive")
    lease = lane.acquire("n1", 60_000, "line")
    lane.settle(lease, 60_000, freeze(lane, lease), 5, [])
    rebase(FLOW, {"main": store.client}, {"warehouse": Counted(6, 5)}, "ann@box")
    assert problems(store, 6, 5) == ["table warehouse.scores +1"], "a message is there twice"
    store.lose_group(store.keys.stream(OUT), "archive")
    rebase(FLOW, {"main": store.client}, {"warehouse": Counted(6, 5)}, "ann@box")
    assert "reader b.stream_out/archive -1" in problems(store, 6, 5), "the group is gone"


@pytest.mark.integration
@TAMPERED
def test_tampering_is_found(store: RealStore, tamper: Callable[[RealStore], None], subjects: set[str]) -> None:
    steps = live(store)
    for _ in range(3):
        next(steps)
    assert problems(store) == []
    tamper(store)
    found = {problem.rpartition(" ")[0] for problem in problems(store)}
    assert subjects <= found


@pytest.mark.integration
def test_a_lost_group_is_found(store: RealStore) -> None:
    store.door().append([message(1)])
    store.lose_group(store.keys.stream(IN), "one")
    assert "reader a.stream_in/one -1" in problems(store)


@pytest.mark.integration
def test_entries_of_other_programs_are_told_and_are_no_loss(store: RealStore) -> None:
    for _ in range(3):
        call(store.client, "XADD", store.keys.stream(IN).stream, "*", "x", "y")
    found = audit(FLOW, {"main": store.client}, {})
    assert is_clean(found)
    (note,) = [finding for finding in found if finding.state == "note"]
    assert (note.subject, abs(note.drift), note.text) == (IN, 3, "written by other programs")
    hop = store.hop("one")
    hop.finish("c", [(entry, Drop()) for entry in hop.read("c", 10, 0)])
    assert is_clean(audit(FLOW, {"main": store.client}, {}))


@pytest.mark.integration
def test_what_a_former_flow_file_left_is_audited_too(store: RealStore) -> None:
    store.door().append([message(1), message(2, SIDE)])
    smaller = loads(
        TEXT.replace("  two: {from: a.stream_in, to: c.stream_out,", "  three: {from: a.stream_in, to: c.stream_out,")
    )
    found = audit(smaller, {"main": store.client}, {})
    assert {f.subject for f in found if f.check == "reader"} >= {f"{IN}/one", f"{IN}/two", f"{IN}/three"}
    assert [f.subject for f in found if f.state == "unchecked" and f.check == "reader"] == [f"{IN}/three"]
    assert mid(store.fields(store.keys.stream(SIDE))[0][1]) == "m2"
    assert LAST in {f.subject for f in found}


class TestCollection:
    @pytest.mark.parametrize("documents", [10, 11, 12])
    def test_as_many_as_were_written(self, documents: int) -> None:
        assert check_collection("store.c", Sent(10, 11, 1), documents, exclusive=True).state == "ok"

    @pytest.mark.parametrize("documents", [9, 13])
    def test_others_may_write_and_delete_but_not_where_the_edge_is_alone(self, documents: int) -> None:
        assert check_collection("store.c", Sent(10, 11, 1), documents, exclusive=True).state == "drift"
        assert check_collection("store.c", Sent(10, 11, 1), documents, exclusive=False).state == "note"
