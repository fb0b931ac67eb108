"""Who goes on with whose work: the rules, without a server."""

from __future__ import annotations

import pytest

from dataflow.errors import UserError
from dataflow.store.leads import Lead, Leads, Reader, related_names
from dataflow.store.succession import Succession, succession


def worker(handler: str, reads: str = "s") -> Lead:
    return Lead("worker", reads, handler)


def edge(target: str, reads: str = "s", *, late: bool = False) -> Lead:
    return Lead("s2ch", reads, target, target, late=late)


def leads(**by_name: Lead) -> Leads:
    return {Reader(lead.reads, name): lead for name, lead in by_name.items()}


def heirs(found: Succession) -> dict[str, str]:
    return {step.reader.name: step.former.name for step in found.steps if step.reader != step.former}


def test_nothing_changed() -> None:
    same = leads(a=worker("f"), b=edge("t"))
    found = succession(same, same)
    assert (found.steps, found.dropped, found.leads) == ([], [], same)


def test_the_same_step_under_another_name() -> None:
    found = succession(leads(a=worker("f"), b=edge("t")), leads(x=worker("f"), y=edge("t")))
    assert heirs(found) == {"x": "a", "y": "b"}
    assert [(step.quiet, step.anew) for step in found.steps] == [(False, False)] * 2
    assert found.leads[Reader("s", "x")].former == ("a",)


def test_another_worker_takes_the_place_at_once_and_another_target_when_all_has_arrived() -> None:
    (one,) = succession(leads(a=worker("f")), leads(x=worker("g"))).steps
    assert (one.quiet, one.anew) == (False, False)
    (two,) = succession(leads(b=edge("t")), leads(y=edge("u"))).steps
    assert (two.quiet, two.anew) == (True, True)
    (three,) = succession(leads(a=worker("f")), leads(a=edge("t"))).steps
    assert (three.quiet, three.anew) == (True, True)


def test_led_elsewhere_under_its_name() -> None:
    (step,) = succession(leads(b=edge("t")), leads(b=edge("u"))).steps
    assert (step.former, step.reader, step.quiet, step.anew) == (Reader("s", "b"), Reader("s", "b"), True, True)
    assert succession(leads(a=worker("f")), leads(a=worker("g"))).steps == []


def test_dropped_without_a_successor() -> None:
    found = succession(leads(a=worker("f"), b=worker("g")), leads(b=worker("g")))
    assert (found.steps, found.dropped) == ([], [Reader("s", "a")])
    assert Reader("s", "a") in found.leads, "it may have a successor later"


def test_who_wants_only_what_is_new_takes_no_place() -> None:
    found = succession(leads(b=edge("t")), leads(y=edge("u", late=True)))
    assert (found.steps, found.dropped) == ([], [Reader("s", "b")])


def test_on_another_stream_it_is_another_reader() -> None:
    found = succession(leads(a=worker("f")), leads(a=worker("f", reads="r")))
    assert (found.steps, found.dropped) == ([], [Reader("s", "a")])


@pytest.mark.parametrize(
    ("before", "wanted"),
    [
        (leads(a=worker("f"), b=worker("g")), leads(a=worker("g"), b=worker("f"))),
        (leads(a=worker("f"), b=worker("g")), leads(b=worker("f"), c=worker("g"))),
        (leads(a=edge("t")), leads(x=edge("t"), a=edge("u"))),
        (leads(a=worker("f"), b=worker("g", reads="r")), leads(b=worker("f"), a=worker("g", reads="r"))),
    ],
    ids=["exchanged", "a chain", "its place is taken while it goes elsewhere", "across streams"],
)
def test_names_that_are_passed_on_are_refused(before: Leads, wanted: Leads) -> None:
    with pytest.raises(UserError, match="in two steps"):
        succession(before, wanted)


def test_many_for_many_are_refused() -> None:
    with pytest.raises(UserError, match="loses the readers a, b and gets x, y"):
        succession(leads(a=worker("f"), b=worker("g")), leads(x=worker("h"), y=worker("i")))
    with pytest.raises(UserError, match="loses the readers a and gets x, y"):
        succession(leads(a=worker("f")), leads(x=worker("h"), y=worker("i")))


def test_names_that_stood_for_the_same_work() -> None:
    found = related_names([
        (Reader("s", "c"), Lead("worker", "s", "f", former=("a", "b"))),
        (Reader("r", "a"), Lead("worker", "r", "f")),
        (Reader("s", "z"), Lead("worker", "s", "g")),
    ])  # fmt: skip
    assert found["a"] == found["c"] == {"a", "b", "c"}
    assert found["z"] == {"z"}
