"""Rows that only the table can refuse: found, buried with the reason, and all others are there once."""

from __future__ import annotations

import random
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from dataflow.clickhouse.address import ServerAddress
from dataflow.clickhouse.link import Link
from dataflow.store.resume import resume
from dataflow.testing.servers import ClickHouseServer
from sync.runner import Runner
from sync.search import IN_VAIN, MOST_PIECES
from sync.sinks.clickhouse.embedded import EmbeddedBackend
from sync.sinks.clickhouse.sink import ClickHouseSink
from sync.warehouse.chdb import ChdbWarehouse
from tests.sync.lab import Crash, Lab, Tripwire
from tests.sync.sinks.clickhouse.tcp_lab import TcpLab

pytestmark = pytest.mark.integration

ROOT = Path(__file__).parents[4]
FLOW = """
flow: water
streams:
  a.stream_in: {schema: {n: int}}
edges:
  archive: {kind: s2ch, from: a.stream_in, to: warehouse.%, batch: 32}
"""
STEPS = [("source", "freeze"), ("sink", "write"), ("source", "settle")]


class ChdbLab(Lab):
    """The flow above, into a table of the embedded warehouse."""

    def __init__(self, url: str, warehouse: ChdbWarehouse, table: str, **options: Any) -> None:
        super().__init__(url, FLOW.replace("%", table), **options)
        self.backend = EmbeddedBackend(warehouse)
        self.table = table

    def create(self, window: int, more: str = "") -> None:
        """Make the table; `more`: constraints."""
        settings = f"SETTINGS non_replicated_deduplication_window = {window}"
        self.execute(f"CREATE TABLE % (_mid String, n Int64 {more}) ENGINE = MergeTree ORDER BY n {settings}")

    def execute(self, statement: str) -> None:
        self.backend.execute(statement.replace("%", self.table))

    def sink(self) -> Any:
        return ClickHouseSink(self.edge, self.flow.streams["a.stream_in"].schema, self.backend)

    def stored(self) -> list[tuple[str, int]]:
        """(id, n) of all rows, in order."""
        rows = self.backend.rows(f"SELECT _mid, n FROM {self.table} ORDER BY n, _mid", {})
        return [(row["_mid"], row["n"]) for row in rows]

    def all_but(self, bad: Callable[[int], bool]) -> None:
        """Every message is a row, once, or, if it is bad, a dead letter."""
        numbers = range(self.filled)
        assert self.stored() == [(f"m{n}", n) for n in numbers if not bad(n)]
        assert sorted(int(letter["n"]) for letter in self.dead()) == [n for n in numbers if bad(n)]
        self.books_balance()


@pytest.fixture
def lab(redis_url: str, warehouse: ChdbWarehouse, table: str) -> Iterator[ChdbLab]:
    with closing(ChdbLab(redis_url, warehouse, table)) as lab:
        yield lab


@pytest.fixture(params=[100, 0], ids=["token", "readback"])
def window(request: pytest.FixtureRequest) -> int:
    """How many blocks the table remembers."""
    return int(request.param)


def test_one_bad_row_among_50000(redis_url: str, warehouse: ChdbWarehouse, table: str, window: int) -> None:
    with closing(ChdbLab(redis_url, warehouse, table, batch=50_000)) as lab:
        lab.create(window, ", CONSTRAINT odd CHECK n != 31234")
        lab.fill(50_000)
        run = lab.run()
        assert (run.state, run.written, run.dead) == ("empty", 49_999, 1)
        assert run.batches <= MOST_PIECES
        lab.all_but(lambda n: n == 31_234)
        assert "Constraint `odd`" in lab.dead()[0]["_dead_error"]


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize(("end", "method"), STEPS)
def test_a_runner_that_dies_at_any_step_of_the_search(
    lab: ChdbLab, window: int, end: str, method: str, when: str
) -> None:
    lab.create(window, ", CONSTRAINT odd CHECK modulo(n, 32) != 13")
    deaths = 0
    for nth in range(1, 14):
        lab.fill(32)
        deaths += dies(lab, end, method, when, nth)
        assert lab.run().state == "empty"
        lab.all_but(lambda n: n % 32 == 13)
    assert deaths >= 4


def dies(lab: ChdbLab, end: str, method: str, when: str, nth: int) -> bool:
    """Run, and die at the n-th call of a step. Returns whether it came to that."""

    def die() -> None:
        raise Crash

    source: Any = lab.source()
    sink: Any = lab.sink()
    if end == "source":
        source = Tripwire(source, method, when, die, nth)
    else:
        sink = Tripwire(sink, method, when, die, nth)
    runner = Runner(lab.edge, source, lambda: sink)
    try:
        runner.run()
    except Crash:
        lab.expire_lease()
        return True
    runner.leave()
    return False


def test_bad_rows_here_and_there(lab: ChdbLab, window: int) -> None:
    lab.create(window, ", CONSTRAINT odd CHECK n NOT IN (0, 1, 17, 31, 32, 63, 95)")
    lab.fill(100)
    assert lab.run().state == "empty"
    lab.all_but(lambda n: n in (0, 1, 17, 31, 32, 63, 95))


def test_a_table_that_refuses_everything_pauses_the_edge(lab: ChdbLab, window: int) -> None:
    lab.create(window, ", CONSTRAINT none CHECK n < 0")
    lab.fill(100)
    run = lab.run()
    assert run.state == "paused"
    assert "--bury" in run.error
    assert (lab.stored(), len(lab.dead())) == ([], IN_VAIN)
    lab.execute("ALTER TABLE % DROP CONSTRAINT none")
    resume(lab.flow, lab.edge, lab.redis, None)
    assert lab.run().state == "empty"
    lab.all_but(lambda n: n < IN_VAIN)


def test_who_says_bury_has_all_of_it_buried(lab: ChdbLab, window: int) -> None:
    lab.create(window, ", CONSTRAINT none CHECK n < 0")
    lab.fill(40)
    assert lab.run().state == "paused"
    resume(lab.flow, lab.edge, lab.redis, None, bury=True)
    assert lab.run().state == "empty"
    lab.all_but(lambda n: True)


def breaks_off(lab: ChdbLab) -> None:
    """Bring 20 messages into the table in one batch, and die before that is noted."""
    lab.run()  # the lane is older than its messages: none of them can have been sent and forgotten
    lab.fill(20)
    assert dies(lab, "sink", "write", "after", 1)


def test_a_constraint_that_came_when_the_rows_were_in_refuses_none_of_them(lab: ChdbLab, window: int) -> None:
    lab.create(window)
    breaks_off(lab)
    lab.execute("ALTER TABLE % ADD CONSTRAINT late CHECK n != 7")
    assert lab.run().state == "empty"
    lab.all_but(lambda n: False)


@pytest.mark.parametrize(("at_first", "later"), [(0, 100), (100, 0), (100, 200)])
def test_a_batch_in_doubt_across_a_change_of_the_window(lab: ChdbLab, at_first: int, later: int) -> None:
    lab.create(at_first)
    breaks_off(lab)
    lab.execute(f"ALTER TABLE % MODIFY SETTING non_replicated_deduplication_window = {later}")
    assert lab.run().state == "empty"
    lab.all_but(lambda n: False)


@pytest.mark.acceptance
def test_runners_are_killed_while_they_search_a_server(
    redis_url: str, clickhouse: ClickHouseServer, server_table: str
) -> None:
    with closing(Link(ServerAddress.read(clickhouse.url))) as link:
        check = "x UInt8 MATERIALIZED toUInt8(if(n % 100 = 13, 'bad', '1'))"
        link.change(f"CREATE TABLE {server_table} (_mid String, n Int64, {check}) ENGINE = MergeTree ORDER BY n")
    chance = random.Random(7)
    with closing(TcpLab(redis_url, clickhouse.url, server_table)) as lab:
        lab.fill(600)
        for _ in range(6):
            kill_a_runner(lab, chance.uniform(0, 0.15))
        assert lab.run().state == "empty"
        assert lab.stored() == [(f"m{n}", n) for n in range(600) if n % 100 != 13]
        assert [int(letter["n"]) for letter in lab.dead()] == [13, 113, 213, 313, 413, 513]
        lab.books_balance()


def kill_a_runner(lab: TcpLab, after_s: float) -> None:
    """Start one, wait until it has frozen something, then kill it at some moment."""
    before = lab.lane_state().get("frozen")
    arguments = [lab.redis_url, lab.ch_url, lab.table, "never", "30"]
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.sync.sinks.clickhouse.tcp_victim", *arguments],
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
    )
    deadline = time.monotonic() + 30
    while process.poll() is None and lab.lane_state().get("frozen") == before:
        assert time.monotonic() < deadline
    time.sleep(after_s)  # not to wait for anything: to hit another moment each time
    process.kill()
    process.wait()
