"""A stream into a ClickHouse table: a server over TCP, and the embedded engine."""

from __future__ import annotations

import json
from collections.abc import Callable

from clickhouse_driver import Client

from benchmarks import tables
from benchmarks.lab import Lab, length, stream_key
from benchmarks.measure import CheckFailed, Contender, Job, Sample, ratio
from benchmarks.messages import OLDER, REQUEST, SCHEMA, fill

BATCH = 10_000
FLOW = """
flow: bench
connections: {main: {redis: "{0}"}, warehouse: {clickhouse: "{1}"}}
streams:
  a.stream_out: {max_len: 10000000, schema: SCHEMA}
edges:
  archive: {kind: s2ch, from: a.stream_out, to: warehouse.rows, create_table: true, batch: 10000, task: external}
""".replace("SCHEMA", SCHEMA)


def server(request: str = REQUEST) -> Callable[[Lab, int], Sample]:
    """An s2ch edge into the server."""

    def run(lab: Lab, n: int) -> Sample:
        with lab.redis() as redis:
            client = _client(lab)
            client.execute("DROP TABLE IF EXISTS rows")
            flow = lab.flow(FLOW, redis.url, lab.clickhouse.url)
            fill(redis.url, stream_key(flow, "a.stream_out"), n, request)
            found = json.loads(lab.run("benchmarks.edge", str(flow.path), "archive"))
            tables.check_table(tables.ask(client, "rows"), n)
            _check_empty(redis.url, stream_key(flow, "a.stream_out"))
            return Sample(n, found["seconds"], {"CPU µs": found["cpu_seconds"] / n * 1e6})

    return run


def embedded(lab: Lab, n: int) -> Sample:
    """An s2ch edge into chDB."""
    with lab.redis() as redis, lab.subfolder() as folder:
        flow = lab.flow(FLOW, redis.url, "embedded")
        fill(redis.url, stream_key(flow, "a.stream_out"), n)
        found = json.loads(lab.run("benchmarks.edge", str(flow.path), "archive", str(folder)))
        tables.check_table(found["rows"], n)
        _check_empty(redis.url, stream_key(flow, "a.stream_out"))
        return Sample(n, found["seconds"], {"CPU µs": found["cpu_seconds"] / n * 1e6})


def read(lab: Lab, n: int) -> Sample:
    """The stream read raw."""
    with lab.redis() as redis:
        fill(redis.url, "in", n)
        return Sample(n, float(lab.run("benchmarks.floors.archive", "read", redis.url, str(BATCH))))


def insert(lab: Lab, n: int) -> Sample:
    """Ready columns inserted."""
    client = _client(lab)
    tables.make(client, "ready")
    seconds = float(lab.run("benchmarks.floors.archive", "insert", str(lab.clickhouse.port), str(BATCH), str(n)))
    tables.check_table(tables.ask(client, "ready"), n)
    return Sample(n, seconds)


def loop(batch: int) -> Callable[[Lab, int], Sample]:
    """The loop of redis-py, pandas and clickhouse-driver."""

    def run(lab: Lab, n: int) -> Sample:
        with lab.redis() as redis:
            client = _client(lab)
            tables.make(client, "looped")
            fill(redis.url, "in", n)
            port = str(lab.clickhouse.port)
            seconds = float(lab.run("benchmarks.peers.loop", "table", redis.url, port, str(batch)))
            tables.check_table(tables.ask(client, "looped"), n)
            _check_empty(redis.url, "in")
            return Sample(n, seconds)

    return run


def _client(lab: Lab) -> Client:
    return Client("127.0.0.1", port=lab.clickhouse.port)


def _check_empty(url: str, key: str) -> None:
    if left := length(url, key):
        raise CheckFailed(f"{left} entries were left at the source")


SERVER = Job(
    "s2ch",
    "a stream into a ClickHouse server over TCP, one process",
    (
        Contender("ours", server()),
        Contender("ours, looked up first", server(OLDER)),
        Contender("raw stream read", read),
        Contender("columnar insert", insert),
        Contender("loop, 1000", loop(1000), 0.25),
        Contender("loop, 10000", loop(10_000), 0.25),
    ),
    (ratio(("loop, 1000", "loop, 10000"), 4.0), ratio(("raw stream read", "columnar insert"), 0.4, pick="worst")),
    messages=4.0,
)
EMBEDDED = Job(
    "s2ch_chdb",
    "a stream into chDB",
    (Contender("ours", embedded), Contender("server over TCP", server())),
    (ratio("server over TCP", 0.9),),
    messages=4.0,
)
