"""A stream to another Redis server, exactly once."""

from __future__ import annotations

import json
import time
from collections.abc import Callable

from benchmarks.lab import Lab, length, stream_key
from benchmarks.measure import CheckFailed, Contender, Job, Sample, ratio
from benchmarks.messages import SCHEMA, check_stream, fill

CONFIRMED_WITHIN_S = 60.0
FLOW = """
flow: bench
connections: {main: {redis: "{0}"}, other: {redis: "{1}"}}
streams:
  a.stream_out: {on: main, max_len: 10000000, schema: SCHEMA}
  b.stream_in: {on: other, max_len: 10000000, keep: {messages: 10000000}}
edges:
  move: {kind: s2s, from: a.stream_out, to: b.stream_in, batch: 500, task: external}
""".replace("SCHEMA", SCHEMA)


def ours(lab: Lab, n: int) -> Sample:
    """An s2s edge."""
    with lab.redis() as source, lab.redis() as target:
        flow = lab.flow(FLOW, source.url, target.url)
        fill(source.url, stream_key(flow, "a.stream_out"), n)
        found = json.loads(lab.run("benchmarks.edge", str(flow.path), "move"))
        check_stream(target.url, stream_key(flow, "b.stream_in"), n, by="move")
        later_s = _confirm(lab, str(flow.path), source.url, stream_key(flow, "a.stream_out"))
        return Sample(n, found["seconds"] + later_s)


def _confirm(lab: Lab, flow: str, url: str, key: str) -> float:
    """Run the edge until its source is empty: it deletes what the target still has some seconds later.

    Returns the seconds that the runs took; the time between them is nobody's work.
    """
    deadline, seconds = time.monotonic() + CONFIRMED_WITHIN_S, 0.0
    while length(url, key) and time.monotonic() < deadline:
        seconds += json.loads(lab.run("benchmarks.edge", flow, "move"))["seconds"]
    _check_empty(url, key)
    return seconds


def floor(batch: int) -> Callable[[Lab, int], Sample]:
    """A packed copy."""
    return _by_hand("benchmarks.floors.copy", (), batch, by="move")


def loop(batch: int) -> Callable[[Lab, int], Sample]:
    """The loop of redis-py."""
    return _by_hand("benchmarks.peers.loop", ("stream",), batch)


def _by_hand(module: str, words: tuple[str, ...], batch: int, by: str = "") -> Callable[[Lab, int], Sample]:
    def run(lab: Lab, n: int) -> Sample:
        with lab.redis() as source, lab.redis() as target:
            fill(source.url, "in", n)
            seconds = float(lab.run(module, *words, source.url, target.url, str(batch)))
            check_stream(target.url, "out", n, by=by)
            _check_empty(source.url, "in")
            return Sample(n, seconds)

    return run


def _check_empty(url: str, key: str) -> None:
    if left := length(url, key):
        raise CheckFailed(f"{left} entries were left at the source")


JOB = Job(
    "s2s",
    "a stream to another redis-server, exactly once",
    (
        Contender("ours", ours),
        Contender("packed copy", floor(1000)),
        Contender("loop, 1000", loop(1000), 0.5),
        Contender("loop, 5000", loop(5000), 0.5),
    ),
    (ratio(("loop, 1000", "loop, 5000"), 2.2), ratio("packed copy", 0.8)),
)
