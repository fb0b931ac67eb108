"""The loop that people write with redis-py, pandas and clickhouse-driver: read a page, write it, delete what was read.

    python -m benchmarks.peers.loop stream SOURCE_URL TARGET_URL BATCH
    python -m benchmarks.peers.loop table REDIS_URL CLICKHOUSE_PORT BATCH

A crash between write and delete doubles a page; rows with a missing column vanish (`dropna`). Prints the seconds.
"""

from __future__ import annotations

import sys
import time
from typing import Any

import pandas as pd
import redis
from clickhouse_driver import Client

from benchmarks.tables import COLUMNS

TYPES = {"n": "int64", "value": "float64"}


class Queue:
    """A Redis with streams: pages of dicts in and out."""

    def __init__(self, url: str) -> None:
        self._redis: Any = redis.Redis.from_url(url, decode_responses=True)

    def page(self, stream: str, count: int) -> list[dict[str, Any]]:
        """The oldest messages, each with its entry id as `_entry`."""
        return [{"_entry": id_, **fields} for id_, fields in self._redis.xrange(stream, count=count)]

    def append(self, stream: str, messages: list[dict[str, Any]]) -> None:
        """Write a page in one pipeline."""
        pipeline = self._redis.pipeline(transaction=False)
        for message in messages:
            pipeline.xadd(stream, {name: value for name, value in message.items() if name != "_entry"})
        pipeline.execute()

    def delete(self, stream: str, messages: list[dict[str, Any]]) -> None:
        """Delete a page."""
        self._redis.xdel(stream, *[message["_entry"] for message in messages])


def to_stream(source_url: str, target_url: str, batch: int) -> None:
    """Stream `in` of one server to stream `out` of another."""
    source, target = Queue(source_url), Queue(target_url)
    begun = time.perf_counter()
    while page := source.page("in", batch):
        target.append("out", page)
        source.delete("in", page)
    print(time.perf_counter() - begun)


def to_table(url: str, port: int, batch: int) -> None:
    """Stream `in` into table `looped`."""
    source, client = Queue(url), Client("127.0.0.1", port=port)
    columns = list(COLUMNS)
    begun = time.perf_counter()
    while page := source.page("in", batch):
        frame = pd.DataFrame(page)[columns].dropna().astype(TYPES)
        frame["ok"] = frame["ok"] == "true"
        rows = frame.to_dict("records")
        if client.execute(f"INSERT INTO looped ({', '.join(columns)}) VALUES", rows) > 0:
            source.delete("in", page)
    print(time.perf_counter() - begun)


if __name__ == "__main__":
    if sys.argv[1] == "stream":
        to_stream(sys.argv[2], sys.argv[3], int(sys.argv[4]))
    else:
        to_table(sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
