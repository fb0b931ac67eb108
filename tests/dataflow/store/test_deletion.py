"""Two readers on one stream: nothing goes before both have finished it, and then the memory comes back."""

from __future__ import annotations

import time

import pytest

from dataflow.store.door import Door, Outgoing
from dataflow.store.hop import Hop
from dataflow.store.keys import Keys, StreamKeys
from dataflow.store.outcomes import Drop
from dataflow.store.redis import Client, call, connect
from dataflow.store.script import script

pytestmark = pytest.mark.integration

STREAM, MESSAGES, PIECE = "meter.stream_in", 20_000, 500
KEYS = Keys("two")


def test_memory_returns_when_both_readers_have_finished(both_redis_url: str) -> None:
    redis = connect(both_redis_url)
    _declare(redis, "first", "second")
    _fill_and_drain(redis)  # scripts, consumers and the allocator's first pages are not what is measured
    before = _used_bytes(redis)
    door = Door(redis, KEYS)
    for start in range(0, MESSAGES, PIECE):
        door.append([_message(n) for n in range(start, start + PIECE)])
    full = _used_bytes(redis)

    _drain(redis, "first")
    assert _depth(redis) == MESSAGES, "the second reader still needs them"
    _drain(redis, "second")

    assert _depth(redis) == 0
    most = before + (full - before) * 0.02
    deadline = time.monotonic() + 20  # the server lets go of the buffers of its append-only file when it is idle
    while _used_bytes(redis) > most and time.monotonic() < deadline:
        time.sleep(0.1)
    assert _used_bytes(redis) <= most


def _declare(redis: Client, *groups: str) -> None:
    _declare_stream(redis, KEYS.stream(STREAM), *groups)
    for group in groups:
        _declare_stream(redis, KEYS.retry(STREAM, group), group)


def _declare_stream(redis: Client, at: StreamKeys, *groups: str) -> None:
    joins = [part for group in groups for part in (group, "start")]
    keys = [at.stream, at.groups, at.counts, at.cycle, KEYS.applying]
    script("declare").run(redis, keys, [MESSAGES, 1, "", "", 0, "", *joins])


def _fill_and_drain(redis: Client) -> None:
    Door(redis, KEYS).append([_message(n) for n in range(PIECE)])
    _drain(redis, "first")
    _drain(redis, "second")


def _message(n: int) -> Outgoing:
    return Outgoing(STREAM, [b"_mid", b"m%d" % n, b"_path", b"hub@1", b"payload", b"x" * 200])


def _drain(redis: Client, group: str) -> None:
    hop = Hop(redis, KEYS, STREAM, group, [])
    while entries := hop.read("consumer", PIECE, 1):
        hop.finish("consumer", [(entry, Drop()) for entry in entries])


def _depth(redis: Client) -> int:
    return int(call(redis, "XLEN", KEYS.stream(STREAM).stream))


def _used_bytes(redis: Client) -> int:
    call(redis, "MEMORY", "PURGE")
    lines = call(redis, "INFO", "memory").decode().splitlines()
    return int(next(line.partition(":")[2] for line in lines if line.startswith("used_memory:")))
