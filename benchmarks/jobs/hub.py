"""The door: HTTP requests into a stream."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.client import HTTPConnection

import msgspec

from benchmarks.lab import Lab, stream_key
from benchmarks.load import request, send_all
from benchmarks.measure import CheckFailed, Contender, Job, Sample, ratio
from benchmarks.messages import SCHEMA, check_rows, entries, message, read_row
from benchmarks.meter import Reading
from dataflow.up.ports import free_port

PROCESSES, THREADS = 2, 4
WARM_UP = 100
"""Requests before time counts: gunicorn listens before its processes have loaded what they serve."""
FLOW = """
flow: bench
connections: {main: {redis: "{0}"}}
streams:
  a.stream_in: {max_len: 10000000, schema: SCHEMA}
workers:
  work: {from: a.stream_in, handler: "steps:one"}
""".replace("SCHEMA", SCHEMA)
PATH = "/streams/a.stream_in/messages"


def ours(size: int) -> Callable[[Lab, int], Sample]:
    """The hub."""

    def run(lab: Lab, n: int) -> Sample:
        with lab.redis() as server:
            flow = lab.flow(FLOW, server.url)
            key = stream_key(flow, "a.stream_in")
            with hub(lab, str(flow.path)) as (port, process):
                return _sent(server.url, key, process, port, PATH, n, size)

    return run


def floor(path: str, size: int) -> Callable[[Lab, int], Sample]:
    """A bare view, on the same gunicorn."""

    def run(lab: Lab, n: int) -> Sample:
        with lab.redis() as server:
            port = free_port()
            arguments = ("gunicorn", "benchmarks.floors.view:app", "-w", str(PROCESSES), "--threads", str(THREADS),
                         "-k", "gthread", "-b", f"127.0.0.1:{port}", "--keep-alive", "30",
                         "--no-control-socket", "--forwarded-allow-ips", "*")  # fmt: skip
            with lab.process(*arguments, env={"BENCH_REDIS_URL": server.url}) as process:
                lab.wait_for_port(process, port)
                return _sent(server.url, "in", process, port, path, n, size)

    return run


@contextmanager
def hub(lab: Lab, flow: str) -> Iterator[tuple[int, subprocess.Popen[bytes]]]:
    """`dataflow hub` for the block. Gives its port and its process."""
    port = free_port()
    arguments = ("dataflow", "hub", flow, "--port", str(port), "--workers", str(PROCESSES), "--threads", str(THREADS))
    with lab.process(*arguments) as process:
        lab.wait_for_port(process, port)
        yield port, process


def warm_up(port: int) -> None:
    """Ask for an address that does not exist, over new connections, so that every process has answered some."""
    for _ in range(WARM_UP):
        connection = HTTPConnection("127.0.0.1", port, timeout=30)
        connection.request("GET", "/nothing")
        connection.getresponse().read()
        connection.close()


def requests(path: str, n: int, size: int) -> list[bytes]:
    """Requests for the first n messages, so many in each."""
    starts = range(0, n, size)
    bodies = [[message(i) for i in range(first, min(first + size, n))] for first in starts]
    return [request(path, msgspec.json.encode(body if size > 1 else body[0])) for body in bodies]


def _sent(url: str, key: str, process: subprocess.Popen[bytes], port: int, path: str, n: int, size: int) -> Sample:
    """Send the first n messages, so many in each request, and check that they arrive."""
    bodies = requests(path, n, size)
    warm_up(port)
    begun = Reading.of(process.pid, url, key)
    seconds = send_all(port, bodies)
    cost = begun.until(Reading.of(process.pid, url, key))
    rows = [dict(zip(fields[::2], fields[1::2], strict=True)) for _, fields in entries(url, key)]
    check_rows(((row[b"_mid"].decode(), read_row(row)) for row in rows), n)
    if any(not row[b"_path"].startswith(b"hub@") for row in rows):
        raise CheckFailed("a message has no path")
    return Sample(n, seconds, {"requests/s": n / size / seconds, **cost})


ONE = Job(
    "hub_one",
    "hub, one message per request",
    (Contender("ours", ours(1)), Contender("bare view", floor("/one", 1))),
    (ratio("bare view", 0.9),),
    messages=0.15,
)
MANY = Job(
    "hub_many",
    "hub, 1000 messages per request, validated against a schema",
    (Contender("ours", ours(1000)), Contender("bare view", floor("/many", 1000))),
    (ratio("bare view", 0.8),),
    messages=6.0,
)
