"""A worker's hop on one Redis: read, handle, write, acknowledge, delete."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from benchmarks.floors.hop import NODE
from benchmarks.lab import Lab, holds, length, stream_key
from benchmarks.measure import CheckFailed, Contender, Goal, Job, Round, Sample, ratio
from benchmarks.messages import FIELDS, SCHEMA, Span, check_rows, check_stream, entries, fill, message, span
from benchmarks.meter import Reading
from benchmarks.wire import Wire, pack
from dataflow.testing.servers import RedisServer

SOURCE, TARGET = "a.stream_in", "a.stream_out"
FLOW = """
flow: bench
connections: {main: {redis: "{0}"}}
streams:
  a.stream_in: {max_len: 10000000, schema: SCHEMA}
  a.stream_out: {max_len: 10000000, schema: SCHEMA, keep: {messages: 10000000}}
workers:
  work: {from: a.stream_in, to: a.stream_out, handler: "steps:HANDLER"MORE}
"""
ON_REDIS = ("evalsha", "eval", "xreadgroup")
"""What a worker sends for messages. What runs inside a script is part of the script's time."""


OF_REDIS = "of Redis alone"
FLOORS = ("floor, in turns", "floor, reading ahead")
"""The loop by hand, as most would write it, and as fast as one can. Our goals are about the faster one."""


def flow_text(handler: str = "many", more: str = ", batch_handler: list") -> str:
    """The flow file of a worker."""
    return FLOW.replace("SCHEMA", SCHEMA).replace("HANDLER", handler).replace("MORE", more)


def ours(handler: str, more: str, processes: int = 1) -> Callable[[Lab, int], Sample]:
    """`dataflow worker` on a stream full of messages."""

    def run(lab: Lab, n: int) -> Sample:
        with lab.redis() as server:
            flow = lab.flow(flow_text(handler, more), server.url)
            source, target = stream_key(flow, SOURCE), stream_key(flow, TARGET)
            fill(server.url, source, n)
            reset_commands(server.url)
            arguments = ("dataflow", "worker", str(flow.path), "work", "--processes", str(processes))
            with lab.process(*arguments) as process:
                cost = _cost(lab, process, server.url, target, n)
                done = check_stream(server.url, target, n, factor=2, by=NODE)
                lab.wait(process, lambda: length(server.url, source) == 0)
            busy_s = busy_seconds(server.url, ON_REDIS)
            of_redis = {"Redis µs in commands": busy_s / n * 1e6, OF_REDIS: done.messages / done.seconds * busy_s / n}
            return Sample(done.messages, done.seconds, {**cost, **of_redis})

    return run


def floor(form: str, batch: int = 1000, turns: str = "turns") -> Callable[[Lab, int], Sample]:
    """The loop by hand."""

    def run(lab: Lab, n: int) -> Sample:
        with _prepared(lab, n) as server:
            arguments = ("benchmarks.floors.hop", server.url, "in", "out", "group", str(n), str(batch), form, turns)
            with lab.process(*arguments) as process:
                cost = _cost(lab, process, server.url, "out", n)
                process.wait(30)
            if length(server.url, "in"):
                raise CheckFailed("entries were left behind")
            return _sample(check_stream(server.url, "out", n, factor=2, by=NODE), cost)

    return run


def faststream(form: str) -> Callable[[Lab, int], Sample]:
    """FastStream, started on a stream full of its own messages."""

    def run(lab: Lab, n: int) -> Sample:
        with lab.redis() as server:
            _fill_faststream(server.url, n)
            arguments = ("benchmarks.peers.faststream_app", server.url, "in", "out", form)
            with lab.process(*arguments) as process:
                cost = _cost(lab, process, server.url, "out", n)
            if form == "pipeline":
                return _sample(check_plain(server.url, "out", n), cost)
            found = list(entries(server.url, "out"))
            rows = (json.loads(fields[1][fields[1].index(b'{"') :]) for _, fields in found)
            check_rows(((row["rec_id"], row) for row in rows), n, factor=2)
            return _sample(span([id_ for id_, _ in found]), cost)

    return run


def celery(lab: Lab, n: int) -> Sample:
    """A task per message, all of them waiting when the worker starts."""
    with lab.redis() as server:
        env = {"BENCH_REDIS_URL": server.url, "BENCH_TARGET": "out"}
        lab.run("benchmarks.peers.celery_fill", server.url, str(n))
        arguments = ("celery", "-A", "benchmarks.peers.celery_app", "worker", "--pool", "solo", "--without-gossip",
                     "--without-mingle", "--without-heartbeat", "--loglevel", "WARNING")  # fmt: skip
        with lab.process(*arguments, env=env) as process:
            lab.wait(process, holds(server.url, "out", n))
        return _sample(check_plain(server.url, "out", n))


def check_plain(url: str, key: str, n: int) -> Span:
    """As `check_stream`, for entries without our fields: told apart by rec_id."""
    found = list(entries(url, key))
    rows = [
        dict(zip(map(bytes.decode, fields[::2]), map(bytes.decode, fields[1::2]), strict=True)) for _, fields in found
    ]
    check_rows(((row["rec_id"], _typed(row)) for row in rows), n, factor=2)
    return span([id_ for id_, _ in found])


def reset_commands(url: str) -> None:
    """Begin to count commands anew."""
    with Wire(url) as wire:
        wire.call("CONFIG", "RESETSTAT")


def busy_seconds(url: str, commands: tuple[str, ...]) -> float:
    """CPU seconds that the server has spent in these commands, by INFO commandstats."""
    with Wire(url) as wire:
        text = wire.call("INFO", "commandstats").decode()
    stats = dict(line.removeprefix("cmdstat_").split(":") for line in text.split() if line.startswith("cmdstat_"))
    found = (stats[name] for name in commands if name in stats)
    return sum(int(dict(pair.split("=") for pair in one.split(","))["usec"]) for one in found) / 1e6


def _typed(row: dict[str, str]) -> dict[str, Any]:
    values = (row["rec_id"], row["device"], int(row["n"]), float(row["value"]), row["ok"] == "true")
    return dict(zip(FIELDS, values, strict=True))


def _cost(lab: Lab, process: subprocess.Popen[bytes], url: str, target: str, n: int) -> Mapping[str, float]:
    """Wait until the target holds all messages. Gives the CPU time of each, without that of the start."""
    lab.wait(process, holds(url, target, max(1, n // 10)))
    begun = Reading.of(process.pid, url, target)
    lab.wait(process, holds(url, target, n))
    return begun.until(Reading.of(process.pid, url, target))


def _sample(done: Span, cost: Mapping[str, float] | None = None) -> Sample:
    return Sample(done.messages, done.seconds, cost or {})


@contextmanager
def _prepared(lab: Lab, n: int) -> Iterator[RedisServer]:
    """A server with a full stream and a group."""
    with lab.redis() as server:
        fill(server.url, "in", n)
        with Wire(server.url) as wire:
            wire.call("XGROUP", "CREATE", "in", "group", "0")
        yield server


def _fill_faststream(url: str, n: int) -> None:
    from benchmarks.peers.faststream_app import GROUP, payload

    sample = message(0)
    head, _, _ = payload(sample).partition(b'{"')
    with Wire(url) as wire:
        for first in range(0, n, 1000):
            texts = [json.dumps(message(i), separators=(",", ":")).encode() for i in range(first, min(first + 1000, n))]
            wire.send(b"".join([pack(("XADD", "in", "*", "__data__", head + text)) for text in texts]))
            wire.receive(len(texts))
        wire.call("XGROUP", "CREATE", "in", GROUP, "0")


def _of_redis(one: Round) -> float:
    return one["ours"].facts[OF_REDIS]


BATCH = Job(
    "hop_batch",
    "fenced worker hop, one process, batch handler",
    (
        Contender("ours", ours("many", ", batch_handler: list")),
        Contender(FLOORS[0], floor("many")),
        Contender(FLOORS[1], floor("many", turns="ahead")),
        Contender("FastStream batch", faststream("batch"), 0.1),
        Contender("FastStream pipeline", faststream("pipeline"), 0.3),
    ),
    (ratio(FLOORS, 1.0), ratio(FLOORS[0], 1.0), ratio(("FastStream batch", "FastStream pipeline"), 2.5)),
)
ONE = Job(
    "hop_one",
    "the same, a handler per message",
    (
        Contender("ours", ours("one", "")),
        Contender(FLOORS[0], floor("one")),
        Contender(FLOORS[1], floor("one", turns="ahead")),
        Contender("FastStream", faststream("one"), 0.03),
        Contender("Celery", celery, 0.01),
    ),
    (ratio(FLOORS, 0.75), ratio(FLOORS[0], 0.75), ratio("FastStream", 25.0)),
)
TWO_PROCESSES = Job(
    "hop_two",
    "the same, two processes, batch handler",
    (Contender("ours", ours("many", ", batch_handler: list", 2)),),
    (Goal("ours / Redis alone (1 / its CPU seconds per message)", _of_redis, 0.6),),
)
