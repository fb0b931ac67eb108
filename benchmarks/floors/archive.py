"""The two halves of a stream into a table, each alone.

    python -m benchmarks.floors.archive read REDIS_URL BATCH
    python -m benchmarks.floors.archive insert CLICKHOUSE_PORT BATCH COUNT

read: the stream, raw, entry by entry as the parser gives it. insert: ready columns of Python values, column by column.
Prints the seconds.
"""

from __future__ import annotations

import sys
import time

from clickhouse_driver import Client

from benchmarks.messages import REQUEST, message
from benchmarks.tables import COLUMNS
from benchmarks.wire import Wire
from dataflow.process import collect_seldom


def read(url: str, batch: int) -> None:
    """Read stream `in` to its end; nothing is made of it."""
    begun = time.perf_counter()
    after = b"-"
    with Wire(url) as wire:
        while rows := wire.call("XRANGE", "in", after, "+", "COUNT", batch):
            after = b"(" + rows[-1][0]
    print(time.perf_counter() - begun)


def insert(port: int, batch: int, count: int) -> None:
    """Insert `count` rows into table `ready`."""
    blocks = [columns(range(first, min(first + batch, count))) for first in range(0, count, batch)]
    client = Client("127.0.0.1", port=port)
    client.execute("SELECT 1")
    statement = f"INSERT INTO ready ({', '.join(COLUMNS)}) VALUES"
    begun = time.perf_counter()
    for block in blocks:
        client.execute(statement, block, columnar=True)
    print(time.perf_counter() - begun)


def columns(numbers: range) -> list[list[object]]:
    """Messages as columns of values."""
    rows = [message(i) for i in numbers]
    names = ("rec_id", "device", "n", "value", "ok")
    return [[f"{REQUEST}-{i}" for i in numbers], *([row[name] for row in rows] for name in names)]


if __name__ == "__main__":
    collect_seldom()
    if sys.argv[1] == "read":
        read(sys.argv[2], int(sys.argv[3]))
    else:
        insert(*map(int, sys.argv[2:5]))
