"""CPU time per message: what a busy machine upsets least, and what says where a message's microseconds are spent."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from benchmarks.lab import cpu_seconds, length
from benchmarks.wire import Wire


@dataclass(frozen=True, slots=True)
class Reading:
    """How far things were at one moment: messages written, CPU seconds of the processes and of the server."""

    messages: int
    processes_s: float
    redis_s: float

    @classmethod
    def of(cls, pid: int, url: str, target: str) -> Reading:
        """Read it now. `pid` and all below it count; `target` is the stream that is written."""
        return cls(length(url, target), cpu_seconds(pid), redis_seconds(url))

    def until(self, later: Reading) -> Mapping[str, float]:
        """CPU µs per message between two readings; nothing where no message was moved between them."""
        moved = later.messages - self.messages
        if moved <= 0:
            return {}
        return {
            "CPU µs": (later.processes_s - self.processes_s) / moved * 1e6,
            "Redis CPU µs": (later.redis_s - self.redis_s) / moved * 1e6,
        }


def redis_seconds(url: str) -> float:
    """CPU seconds of a redis-server, by its own account."""
    with Wire(url) as wire:
        lines = wire.call("INFO", "cpu").decode().split()
    used = dict(line.split(":") for line in lines if ":" in line)
    return float(used["used_cpu_user"]) + float(used["used_cpu_sys"])
