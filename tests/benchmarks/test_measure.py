"""The arithmetic of the benchmark, and that its own check can fail."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from benchmarks.lab import Lab
from benchmarks.measure import CheckFailed, Contender, Goal, Job, Outcome, Sample, fact, ratio, run_job
from benchmarks.messages import check_rows, check_stream, entry, fill, message, span
from benchmarks.report import as_json, table
from benchmarks.tables import check_table
from benchmarks.wire import Wire
from dataflow.testing.servers import RedisServer


def job(*rates: float, goals: tuple[Goal, ...] = ()) -> Job:
    names = ("ours", "floor", "peer")
    contenders = [Contender(name, lambda lab, n, rate=rate: Sample(n, n / rate)) for name, rate in zip(names, rates)]  # type: ignore[misc]  # noqa: B905
    return Job("job", "a job", contenders, goals)


def outcome(job: Job, rounds: int = 3) -> Outcome:
    return run_job(job, Lab(), 1000, rounds, lambda line: None)


def test_a_ratio_is_worked_out_round_by_round_and_its_median_quoted() -> None:
    rounds = [{"ours": Sample(100, seconds), "floor": Sample(100, 1.0)} for seconds in (1.0, 2.0, 4.0)]
    found = Outcome(job(1, 1), rounds)
    assert found.reached(ratio("floor", 0.4)) == (0.5, 0.25, 1.0)


def test_best_and_worst_of_several() -> None:
    found = outcome(job(100, 50, 25)).rounds[0]
    assert ratio(("floor", "peer"), 1).value(found) == pytest.approx(2)
    assert ratio(("floor", "peer"), 1, pick="worst").value(found) == pytest.approx(4)


def test_a_goal_is_met_on_the_right_side_of_its_bound() -> None:
    assert ratio("floor", 1.0).met(1.0)
    assert not ratio("floor", 1.0).met(0.99)
    assert fact("ms", 3.0, side="at most").met(3.0)
    assert not fact("ms", 3.0, side="at most").met(3.1)


def test_the_order_of_contenders_turns_round_each_time() -> None:
    order: list[str] = []

    def run(name: str) -> Any:
        return lambda lab, n: order.append(name) or Sample(n, 1.0)

    run_job(Job("j", "", [Contender(name, run(name)) for name in "ab"], ()), Lab(), 1000, 2, lambda line: None)
    assert order == ["a", "b", "b", "a"]


def test_the_table_tells_what_was_met_and_what_was_not() -> None:
    text = table([outcome(job(100, 50, goals=(ratio("floor", 1.0), ratio("floor", 3.0))))])
    assert [line.split()[-1] for line in text.splitlines() if "at least" in line] == ["met", "MET"]
    assert "NOT MET" in text


def test_a_failed_check_ends_the_job_and_is_told() -> None:
    def lose(lab: Lab, n: int) -> Sample:
        raise CheckFailed("99 messages came out, 100 went in")

    found = outcome(Job("j", "", [Contender("ours", lose)], (ratio("floor", 1.0),)))
    assert "99 messages" in found.error
    assert "CHECK FAILED" in table([found])
    assert as_json([found], {}, "now", {})["jobs"]["j"]["error"] == found.error


@contextmanager
def refused() -> Iterator[None]:
    with pytest.raises(CheckFailed):
        yield


def test_a_message_lost_doubled_or_changed_is_found() -> None:
    rows = [(f"m{i}", message(i)) for i in range(10)]
    check_rows(rows, 10)
    with refused():
        check_rows(rows[1:], 10)
    with refused():
        check_rows([*rows, rows[0]], 10)
    with refused():
        check_rows([*rows[1:], rows[1]], 10)
    with refused():
        check_rows([*rows[1:], ("m0", {**message(0), "value": 3.0})], 10)
    with refused():
        check_rows(rows, 10, factor=2)
    with refused():  # two lost, one of the others three times, each with an id
        check_rows([*rows[:8], ("m8", message(7)), ("m9", message(7))], 10)


def test_a_table_that_lacks_a_row_is_found() -> None:
    good = {"rows": 10, "mids": 10, "numbers": 10, "last": 9, "whole": 10}
    check_table(good, 10)
    for name in good:
        with refused():
            check_table({**good, name: 8}, 10)


def test_the_time_of_a_run_is_read_from_the_ids_after_the_warm_up() -> None:
    ids = [b"%d-0" % (1000 + i) for i in range(100)]
    assert (span(ids).messages, span(ids).seconds) == (89, 0.089)


@pytest.mark.integration
def test_a_stream_is_checked_message_by_message() -> None:
    with RedisServer() as server, Wire(server.url) as wire:
        fill(server.url, "s", 2500)
        assert check_stream(server.url, "s", 2500).messages <= 2500
        with refused():
            check_stream(server.url, "s", 2500, by="work")
        wire.call("XADD", "s", "*", *entry(0))
        with refused():
            check_stream(server.url, "s", 2500)
        with refused():
            check_stream(server.url, "s", 2501)


@pytest.mark.integration
@pytest.mark.parametrize("wrong", ["ids of each other", "a hop too many", "another's id"])
def test_a_message_that_is_not_itself_is_found(wrong: str) -> None:
    rows = [entry(i) for i in range(3)]
    if wrong == "ids of each other":
        rows[0][1], rows[1][1] = rows[1][1], rows[0][1]
    elif wrong == "another's id":
        rows[0][1] += b"0"
    else:
        rows[0][3] += b">work@1763686800017"
    with RedisServer() as server, Wire(server.url) as wire:
        for row in rows:
            wire.call("XADD", "s", "*", *row)
        with refused():
            check_stream(server.url, "s", 3)
