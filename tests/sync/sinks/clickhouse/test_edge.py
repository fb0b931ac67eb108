"""A whole edge: stream on a real Redis, runner, sink, real chDB."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from dataflow.errors import OutcomeUnknown
from sync.runner import Runner
from sync.sink import Batch, Prepared
from sync.sinks.clickhouse.embedded import EmbeddedBackend
from sync.sinks.clickhouse.sink import ClickHouseSink
from sync.source import StreamSource
from sync.warehouse.chdb import ChdbWarehouse
from tests.sync.lab import Lab

pytestmark = pytest.mark.integration

ARCHIVE = """
flow: water
streams:
  a.stream_in: {schema: {n: int}}
edges:
  archive: {kind: s2ch, from: a.stream_in, to: warehouse.%, create_table: true, batch: 10}
"""
MakeRunner = Callable[..., Runner]


class Breaking(ClickHouseSink):
    """Breaks off once: `before` the first INSERT, or `after` it."""

    def __init__(self, *args: object, moment: str) -> None:
        super().__init__(*args)  # type: ignore[arg-type]
        self.moment = moment

    def write(self, batch: Batch, prepared: Prepared) -> int:
        if self.moment == "after":
            super().write(batch, prepared)
        raise OutcomeUnknown(f"broken {self.moment} the INSERT")


@pytest.fixture
def lab(redis_url: str, table: str) -> Iterator[Lab]:
    """The flow on a Redis."""
    lab = Lab(redis_url, ARCHIVE.replace("%", table))
    yield lab
    lab.close()


@pytest.fixture
def runner(lab: Lab, warehouse: ChdbWarehouse) -> Iterator[MakeRunner]:
    """A new runner of the edge; with `moment`, one whose sink breaks off."""
    made: list[Runner] = []

    def make(moment: str = "") -> Runner:
        arguments = (lab.edge, lab.flow.streams["a.stream_in"].schema, EmbeddedBackend(warehouse))
        source = StreamSource(lab.flow, lab.edge, lab.redis)
        made.append(
            Runner(
                lab.edge, source, lambda: Breaking(*arguments, moment=moment) if moment else ClickHouseSink(*arguments)
            )
        )
        return made[-1]

    yield make
    for each in made:
        each.leave()


@pytest.fixture
def stored(warehouse: ChdbWarehouse, table: str) -> Callable[[], list[tuple[str, int]]]:
    """(id, n) of all rows."""

    def stored() -> list[tuple[str, int]]:
        rows = EmbeddedBackend(warehouse).rows(f"SELECT _mid, n FROM {table} ORDER BY n", {})
        return [(row["_mid"], row["n"]) for row in rows]

    return stored


Stored = Callable[[], list[tuple[str, int]]]


def numbered(count: int) -> list[tuple[str, int]]:
    return [(f"m{n}", n) for n in range(count)]


def test_messages_become_rows_and_leave_the_stream(lab: Lab, runner: MakeRunner, stored: Stored) -> None:
    lab.fill(35)
    run = runner().run()
    assert (run.state, run.read, run.written, run.batches) == ("empty", 35, 35, 4)
    assert stored() == numbered(35)
    assert lab.waiting() == 0


def test_what_does_not_fit_goes_to_the_dead_letters_with_the_reason(
    lab: Lab, runner: MakeRunner, stored: Stored
) -> None:
    lab.fill(3)
    lab.append_raw(b"_mid", b"bad", b"n", b"many")
    foreign = lab.append_raw(b"n", b"3").decode()
    run = runner().run()
    assert (run.state, run.written, run.dead) == ("empty", 4, 1)
    assert stored() == [*numbered(3), (f"a.stream_in/{foreign}", 3)]
    (letter,) = lab.dead()
    assert "n (Int64): 'many' is no whole number" in str(letter)


@pytest.mark.parametrize("moment", ["before", "after"])
def test_a_batch_in_doubt_is_sent_again(moment: str, lab: Lab, runner: MakeRunner, stored: Stored) -> None:
    lab.fill(15)
    broken = runner(moment)
    assert broken.run().state == "unknown"
    broken.leave()
    assert runner().run().state == "empty"
    assert stored() == numbered(15)


@pytest.mark.parametrize("moment", ["before", "after"])
def test_a_table_that_is_altered_under_an_open_batch(
    moment: str, lab: Lab, runner: MakeRunner, stored: Stored, warehouse: ChdbWarehouse, table: str
) -> None:
    lab.fill(15)
    broken = runner(moment)
    assert broken.run().state == "unknown"
    broken.leave()
    warehouse.execute(f"ALTER TABLE {table} MODIFY COLUMN n Float64")
    run = runner().run()
    assert (run.state, run.error) == ("empty", "")
    assert stored() == numbered(15)
    assert lab.waiting() == 0


def test_a_batch_of_which_some_had_arrived_is_completed_in_the_altered_table(
    lab: Lab, runner: MakeRunner, stored: Stored, warehouse: ChdbWarehouse, table: str
) -> None:
    lab.fill(10)
    broken = runner("before")
    assert broken.run().state == "unknown"
    broken.leave()
    warehouse.execute(f"INSERT INTO {table} (_mid, n) VALUES ('m2', 2), ('m5', 5)")
    warehouse.execute(f"ALTER TABLE {table} MODIFY COLUMN n Int32")
    run = runner().run()
    assert (run.state, run.read, run.written, run.skipped) == ("empty", 10, 8, 2)
    assert stored() == numbered(10)


def test_a_table_that_fits_nothing_any_more_pauses_the_edge(
    redis_url: str, warehouse: ChdbWarehouse, table: str
) -> None:
    """Nothing is buried where the table has changed rather than the messages."""
    warehouse.execute(
        f"CREATE TABLE {table} (_mid String, n Enum8('one' = 1)) ENGINE = MergeTree ORDER BY _mid "
        "SETTINGS non_replicated_deduplication_window = 10"
    )
    lab = Lab(redis_url, ARCHIVE.replace("%", table), batch=100)
    lab.fill(40)
    sink = ClickHouseSink(lab.edge, None, EmbeddedBackend(warehouse))
    run = Runner(lab.edge, StreamSource(lab.flow, lab.edge, lab.redis), lambda: sink).run()
    assert (run.state, run.dead, lab.waiting()) == ("paused", 0, 40)
    assert "is none of 'one'" in run.error
    lab.close()
