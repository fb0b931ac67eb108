"""Runners as processes inside an INSERT into a clickhouse-server: stopped past their lease, and killed."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from dataflow.testing.servers import ClickHouseServer
from sync.run import GOOD
from tests.sync.lab import until
from tests.sync.sinks.clickhouse.tcp_lab import TcpLab

pytestmark = [pytest.mark.integration, pytest.mark.acceptance]

ROOT = Path(__file__).parents[4]
LEASE_S = 0.5
KILLS = 3
MOMENTS = ("early", "before", "between", "after")


@contextmanager
def victim(lab: TcpLab, moment: str, lease_s: float) -> Iterator[subprocess.Popen[str]]:
    """A runner that has come to a moment of its INSERT."""
    arguments = [lab.redis_url, lab.ch_url, lab.table, moment, str(lease_s)]
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.sync.sinks.clickhouse.tcp_victim", *arguments],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        if moment in MOMENTS:
            assert process.stdout.readline().strip() == "there"
        yield process
    finally:
        process.kill()
        process.wait()
        process.stdin.close()
        process.stdout.close()


@pytest.mark.parametrize("moment", MOMENTS)
def test_one_that_was_stopped_inside_its_insert_writes_no_row_twice(
    redis_url: str, clickhouse: ClickHouseServer, server_table: str, moment: str
) -> None:
    lab = TcpLab(redis_url, clickhouse.url, server_table, lease_s=LEASE_S)
    lab.fill(25)
    with victim(lab, moment, LEASE_S) as process:
        process.send_signal(signal.SIGSTOP)
        other = lab.tcp_runner()
        until(lambda: other.run().state == "empty", 40)
        lab.all_once()
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write("\n")
        process.stdin.flush()
        process.send_signal(signal.SIGCONT)
        assert process.stdout.readline().strip() in GOOD | {"fenced", "unknown", "away"}
        process.wait(10)
    lab.all_once()
    other.leave()


@pytest.mark.parametrize("moment", MOMENTS)
def test_one_that_was_killed_inside_its_insert_is_succeeded(
    redis_url: str, clickhouse: ClickHouseServer, server_table: str, moment: str
) -> None:
    lab = TcpLab(redis_url, clickhouse.url, server_table)
    lab.fill(25)
    with victim(lab, moment, 30) as process:
        process.kill()
        process.wait()
        runner = lab.tcp_runner()
        until(lambda: runner.run().state == "empty", 40)
        runner.leave()
    lab.all_once()


def test_runners_that_are_killed_at_any_moment(redis_url: str, clickhouse: ClickHouseServer, server_table: str) -> None:
    jitter = random.Random(7)
    lab = TcpLab(redis_url, clickhouse.url, server_table, batch=500)
    for _ in range(3):
        lab.fill(3000)
        with victim(lab, "never", 30) as process:
            left = lab.lane().depth()
            until(lambda: process.poll() is not None or lab.lane().depth() < left)  # noqa: B023
            time.sleep(jitter.uniform(0, 0.05))  # not to wait for anything: to hit another moment each time
    runner = lab.tcp_runner()
    until(lambda: runner.run().state == "empty", 40)
    runner.leave()
    lab.all_once()


def test_a_server_that_is_killed_inside_inserts(own_clickhouse: ClickHouseServer, redis_url: str) -> None:
    jitter = random.Random(11)
    lab = TcpLab(redis_url, own_clickhouse.url, "archive", batch=500)
    for _ in range(KILLS):
        lab.fill(3000)
        with victim(lab, "never", 30) as process:
            left = lab.lane().depth()
            until(lambda: process.poll() is not None or lab.lane().depth() < left)  # noqa: B023
            time.sleep(jitter.uniform(0, 0.03))  # not to wait for anything: to hit another moment each time
            own_clickhouse.kill()
        own_clickhouse.start()
    runner = lab.tcp_runner()
    until(lambda: runner.run().state == "empty", 40)
    runner.leave()
    lab.all_once()
