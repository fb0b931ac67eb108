"""A ClickHouse that refuses: messages wait, and arrive once when it takes them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing

import pytest

from dataflow.clickhouse.address import ServerAddress
from dataflow.clickhouse.link import Link
from dataflow.testing.servers import ClickHouseServer
from tests.sync.sinks.clickhouse.tcp_lab import TcpLab

pytestmark = pytest.mark.integration


@pytest.fixture
def link(clickhouse: ClickHouseServer) -> Iterator[Link]:
    with closing(Link(ServerAddress.read(clickhouse.url))) as link:
        yield link


@pytest.fixture
def make_lab(redis_url: str, clickhouse: ClickHouseServer, link: Link) -> Iterator[Callable[..., TcpLab]]:
    """An edge into the table `struck`, with batches of 10 or as said."""
    with ExitStack() as stack:
        yield lambda **options: stack.enter_context(closing(TcpLab(redis_url, clickhouse.url, "struck", **options)))
    link.change("DROP TABLE IF EXISTS struck")


@pytest.fixture
def lab(make_lab: Callable[..., TcpLab]) -> TcpLab:
    return make_lab()


def make_table(link: Link, settings: str = "") -> None:
    link.change(f"CREATE TABLE struck (_mid String, n Int64) ENGINE = MergeTree ORDER BY n {settings}")


def test_too_many_parts_are_waited_for(lab: TcpLab, link: Link) -> None:
    make_table(link, "SETTINGS index_granularity = 8192, parts_to_delay_insert = 2, parts_to_throw_insert = 2")
    link.change("SYSTEM STOP MERGES struck")
    lab.fill(35)
    run = lab.run()
    assert run.state == "refused" and "struck" in run.error
    assert (len(lab.stored()), lab.waiting()) == (20, 15), "two parts, and the rest waits"
    link.change("SYSTEM START MERGES struck")
    link.change("OPTIMIZE TABLE struck FINAL")
    while lab.run().state != "empty":
        link.change("OPTIMIZE TABLE struck FINAL")
    lab.all_once()
    lab.books_balance()


def test_a_failing_view_leaves_every_row_once(lab: TcpLab, link: Link) -> None:
    make_table(link)
    link.change("CREATE TABLE copied (n Int64) ENGINE = MergeTree ORDER BY n")
    link.change("CREATE MATERIALIZED VIEW struck_view TO copied AS SELECT n FROM struck")
    link.change("DROP TABLE copied")
    try:
        lab.fill(25)
        for _ in range(3):
            assert lab.run().state in ("unknown", "refused")
        assert lab.waiting() == 25, "nothing is settled on a doubt"
    finally:
        link.change("DROP TABLE struck_view")
    assert lab.run().state == "empty"
    lab.all_once()


def test_a_table_that_refuses_everything_pauses_the_edge(make_lab: Callable[..., TcpLab], link: Link) -> None:
    make_table(link)
    lab = make_lab(batch=50)
    lab.fill(30)
    assert lab.run().state == "empty"
    link.change("DROP TABLE struck")
    link.change("CREATE TABLE struck (_mid String, n Int64, must Date) ENGINE = MergeTree(must, n, 8192)")
    lab.fill(30)
    for _ in range(2):
        run = lab.run()
        assert run.state == "paused" and "30 of 30 messages do not fit" in run.error
    assert (lab.waiting(), lab.dead()) == (30, []), "nothing is sent, and nothing is buried"


def test_one_row_in_many_is_buried_and_the_others_land(make_lab: Callable[..., TcpLab], link: Link) -> None:
    make_table(link)
    lab = make_lab(batch=50_000)
    lab.fill(3000)
    lab.append_raw(b"_mid", b"bad", b"n", b"99999999999999999999")
    lab.fill(3000)
    run = lab.run()
    assert (run.state, run.written, run.dead, run.batches) == ("empty", 6000, 1, 1)
    lab.all_once()
