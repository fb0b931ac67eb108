"""Heartbeats: which processes of a flow are alive, written by themselves into one hash."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from dataflow.store.keys import Keys
from dataflow.store.redis import Client, call
from dataflow.store.script import script

BEAT_EVERY_S = 2.0
SILENT_AFTER_S = 10.0
"""A process that has not beaten for this long is shown as silent, and forgotten after an hour."""
FORGOTTEN_AFTER_S = 3600.0


@dataclass(frozen=True, slots=True)
class Live:
    """A process by its last heartbeat. `kind`: hub, worker, sync. `facts`: what it tells of itself."""

    kind: str
    process: str
    at_ms: int
    facts: Mapping[str, Any]

    def age_s(self, now_s: float) -> float:
        """Seconds since the heartbeat; `now_s`: since 1970."""
        return max(0.0, now_s - self.at_ms / 1000)

    def is_silent(self, now_s: float) -> bool:
        """Whether it has not been heard of for too long, and is taken for dead."""
        return self.age_s(now_s) > SILENT_AFTER_S


def process_name(name: str) -> str:
    """`<name>@<host>.<pid>` of this process."""
    return f"{name}@{socket.gethostname()}.{os.getpid()}"


def beat(redis: Client, keys: Keys, kind: str, process: str, **facts: Any) -> None:
    """Say that a process is alive. Call it every BEAT_EVERY_S. Raises ServerAway, OutcomeUnknown (harmless)."""
    value = msgspec.json.encode({"at_ms": int(time.time() * 1000), **facts})
    script("note").run(redis, [keys.live], [f"{kind}:{process}", value])


def leave(redis: Client, keys: Keys, kind: str, process: str) -> None:
    """Say that a process has ended in good order."""
    call(redis, "HDEL", keys.live, f"{kind}:{process}")


def live(redis: Client, keys: Keys) -> list[Live]:
    """Every process that has beaten within the last hour, by kind and name; older ones are forgotten."""
    flat = call(redis, "HGETALL", keys.live)
    oldest_ms = int((time.time() - FORGOTTEN_AFTER_S) * 1000)
    found = []
    for name, value in zip(flat[::2], flat[1::2], strict=True):
        kind, _, process = name.decode().partition(":")
        facts = msgspec.json.decode(value)
        at_ms = facts.pop("at_ms")
        if at_ms < oldest_ms:
            call(redis, "HDEL", keys.live, name)
        else:
            found.append(Live(kind, process, at_ms, facts))
    return sorted(found, key=lambda process: (process.kind, process.process))
