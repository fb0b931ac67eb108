"""The lease of a scheduler: of all processes for one machine name one leads, and only its ticks fire."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Final

from dataflow import holder
from dataflow.store.keys import Keys
from dataflow.store.redis import Client
from dataflow.store.script import script

LEASE_S: Final = 10.0
"""After so long without a sign of life another process takes over; at once if the holder is known to be dead."""

SET_BACK_MS: Final = 60_000
"""A last tick that lies further in the future than this was written by a clock that has been set back since."""


@dataclass(frozen=True, slots=True)
class Held:
    """Another process leads: its nonce, and for how long at least."""

    nonce: str
    left_s: float


class Leadership:
    """One process's part in the question who schedules a machine's tasks. Thread-safe.

    Args:
        redis: where the flow keeps what belongs to no stream.
        keys: the flow's.
        machine: the machine name.
        lease_s: how long the lease lasts unless it is kept.
    """

    def __init__(self, redis: Client, keys: Keys, machine: str, lease_s: float = LEASE_S) -> None:
        self._redis = redis
        self._key = keys.scheduler(machine)
        self._lease_s = lease_s
        self._until = 0.0
        self.nonce = holder.new_nonce()

    @property
    def leads(self) -> bool:
        """Whether the lease is surely ours now, by what the server said last. Asks no one."""
        return time.monotonic() < self._until

    def keep(self) -> Held | None:
        """Take the lease or keep it. None: it is ours. Raises ServerAway, OutcomeUnknown; then `leads` tells."""
        held = self._ask("")
        return self._ask(held.nonce) if held is not None and holder.is_dead(held.nonce) else held

    def resign(self) -> None:
        """Let go of the lease. Raises ServerAway, OutcomeUnknown."""
        self._until = 0.0
        script("lead").run(self._redis, [self._key], [self.nonce, 0, ""])

    def claim(self, task: str, tick_ms: int, now_ms: int) -> bool:
        """Let a tick fire. True: now, and it never will again. False: it has fired, or we do not lead any more.

        Raises ServerAway (it has not fired), OutcomeUnknown (it is lost, or would be doubled: count it as fired).
        """
        args = [self.nonce, task, tick_ms, now_ms + SET_BACK_MS]
        return bool(script("tick").run(self._redis, [self._key], args) == b"OK")

    def _ask(self, dead: str) -> Held | None:
        asked_at = time.monotonic()
        answer = script("lead").run(self._redis, [self._key], [self.nonce, int(self._lease_s * 1000), dead])
        if answer[0] == b"OK":
            self._until = asked_at + self._lease_s
            return None
        self._until = 0.0
        return Held(answer[2].decode(), answer[1] / 1000)
