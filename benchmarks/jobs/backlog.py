"""A long backlog: does a message cost more when five million wait, and does the memory come back?"""

from __future__ import annotations

import json
import os
from collections.abc import Callable

from clickhouse_driver import Client

from benchmarks import tables
from benchmarks.floors.hop import NODE
from benchmarks.jobs.hop import SOURCE, TARGET, flow_text
from benchmarks.jobs.s2ch import FLOW
from benchmarks.lab import Lab, children_rss, holds, length, stream_key
from benchmarks.measure import CheckFailed, Contender, Job, Sample, fact, ratio
from benchmarks.messages import check_first, fill
from benchmarks.meter import Reading
from benchmarks.wire import Wire

MB = 2**20


def worker(factor: float) -> Callable[[Lab, int], Sample]:
    """A worker on a stream of `factor` times the messages that it is timed for."""

    def run(lab: Lab, n: int) -> Sample:
        with lab.redis() as server:
            flow = lab.flow(flow_text(), server.url)
            fill(server.url, stream_key(flow, SOURCE), int(n * factor))
            os.sync()  # else the server waits for its disk, to which we have just given half a gigabyte
            target = stream_key(flow, TARGET)
            with lab.process("dataflow", "worker", str(flow.path), "work") as process:
                lab.wait(process, holds(server.url, target, n // 5))
                before, begun = children_rss(process.pid), Reading.of(process.pid, server.url, target)
                lab.wait(process, holds(server.url, target, n))
                after, cost = children_rss(process.pid), begun.until(Reading.of(process.pid, server.url, target))
            done = check_first(server.url, target, n, factor=2, by=NODE)
            return Sample(done.messages, done.seconds, {"our memory grew by MB": (after - before) / MB, **cost})

    return run


def drained(factor: float) -> Callable[[Lab, int], Sample]:
    """An s2ch edge that empties a stream of `factor` times the messages."""

    def run(lab: Lab, n: int) -> Sample:
        n = int(n * factor)
        with lab.redis() as redis:
            client = Client("127.0.0.1", port=lab.clickhouse.port)
            client.execute("DROP TABLE IF EXISTS rows")
            flow = lab.flow(FLOW, redis.url, lab.clickhouse.url)
            before = used_memory(redis.url)
            fill(redis.url, stream_key(flow, "a.stream_out"), n)
            full = used_memory(redis.url)
            found = json.loads(lab.run("benchmarks.edge", str(flow.path), "archive"))
            after = used_memory(redis.url)
            tables.check_table(tables.ask(client, "rows"), n)
            if left := length(redis.url, stream_key(flow, "a.stream_out")):
                raise CheckFailed(f"{left} entries were left at the source")
            client.execute("DROP TABLE rows")
            facts = {
                "our memory MB": found["rss_peak"] / MB,
                "Redis MB full": full / MB,
                "of it back": (full - after) / (full - before),
            }
            return Sample(n, found["seconds"], facts)

    return run


def used_memory(url: str) -> int:
    """Bytes of Redis' data."""
    with Wire(url) as wire:
        text = wire.call("INFO", "memory").decode()
    return int(text.partition("used_memory:")[2].split()[0])


JOB = Job(
    "backlog",
    "a backlog of 5 million messages",
    (
        Contender("edge, 5 million", drained(100)),
        Contender("edge, 50 thousand", drained(1)),
    ),
    (
        ratio("edge, 50 thousand", 0.9, of="edge, 5 million"),
        fact("of it back", 0.99, side="at least", of="edge, 5 million"),
    ),
    messages=1.0,
    most_rounds=1,
)
WORKER = Job(
    "backlog_hop",
    "a worker's first 200 thousand of 2 million messages",
    (Contender("of 2 million", worker(10)), Contender("of as many", worker(1))),
    (
        ratio("of as many", 0.9, of="of 2 million"),
        fact("our memory grew by MB", 10.0, side="at most", of="of 2 million"),
    ),
    messages=4.0,
    most_rounds=2,
)
