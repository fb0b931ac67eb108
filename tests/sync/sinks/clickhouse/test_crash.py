"""kill -9 of the process in the middle of INSERTs; the batch in doubt is sent again: every row is there once."""

from __future__ import annotations

import random
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from sync.warehouse.chdb import ChdbWarehouse
from tests.sync.sinks.clickhouse.writer import ROWS

pytestmark = pytest.mark.acceptance

ROOT = Path(__file__).parents[4]
KILLS = 5
BATCHES_BEFORE_KILL = 4


@pytest.mark.parametrize("window", [100, 0], ids=["token", "readback"])
def test_every_row_is_there_once_however_often_the_process_is_killed(window: int, tmp_path: Path) -> None:
    jitter = random.Random(window)
    last = 1
    for epoch in range(1, KILLS + 1):
        last = _write_and_kill(tmp_path, last, epoch, window, jitter.uniform(0, 0.02))
    found, unique, batches = _stored(tmp_path)
    assert found == unique == batches * ROWS
    assert batches in (last - 1, last)
    assert last >= KILLS * BATCHES_BEFORE_KILL - KILLS


def test_killed_when_the_token_was_noted_and_the_rows_were_not_in_place(tmp_path: Path) -> None:
    """The engine appends the token to a file, then renames the folder of the rows; here it has done the first."""
    _write_and_kill(tmp_path, 1, 1, 100, 0.0)
    (part,) = tmp_path.glob("store/*/*/all_1_1_0")
    (noted,) = tmp_path.glob("store/*/*/deduplication_logs/*_1.txt")
    shutil.rmtree(part)
    assert "all_1_1_0" in noted.read_text()
    assert _ask(tmp_path, "SELECT count() FROM t WHERE startsWith(_mid, 's1-')") == [0]
    last = _write_and_kill(tmp_path, 1, 2, 100, 0.0)
    found, unique, batches = _stored(tmp_path)
    assert found == unique == batches * ROWS
    assert batches in (last - 1, last)


def _stored(folder: Path) -> list[int]:
    """How many rows, different rows and different batches are there."""
    return _ask(folder, "SELECT count(), uniqExact(_mid), uniqExact(splitByChar('-', _mid)[1]) FROM t")


def _ask(folder: Path, question: str) -> list[int]:
    with ChdbWarehouse(folder) as warehouse:
        return [int(number) for number in warehouse.ask(question, format="TSV").split()]


def _write_and_kill(folder: Path, first: int, epoch: int, window: int, delay_s: float) -> int:
    """Let a writer send some batches and kill it inside one. Returns the batch that is in doubt."""
    arguments = [folder, first, epoch, window]
    writer = subprocess.Popen(
        [sys.executable, "-m", "tests.sync.sinks.clickhouse.writer", *map(str, arguments)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert writer.stdout is not None
    try:
        said = [writer.stdout.readline() for _ in range(BATCHES_BEFORE_KILL)]
        time.sleep(delay_s)  # not to wait for anything: to hit another moment of the INSERT each time
    finally:
        writer.kill()
        rest = writer.stdout.read()
        writer.wait()
        writer.stdout.close()
    return int((said + rest.split())[-1])
