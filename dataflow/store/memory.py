"""How full a Redis is, and who has to wait because of it.

Memory is kept free for those who empty it: the door closes first, then edges into the server wait, then workers; what
carries messages out of it never does. The marks are shares of `maxmemory`; without that setting nobody waits.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from redis.exceptions import NoPermissionError

from dataflow.errors import OutcomeUnknown, ServerAway, ServerFull, UserError
from dataflow.store.keys import StreamKeys
from dataflow.store.redis import Client, address, call

log = logging.getLogger("dataflow.redis")

DOOR_MARK: Final = 0.70
"""From this share on nothing new is taken in."""
EDGE_MARK: Final = 0.80
"""From this share on edges wait for those who read what they write."""
WORKER_MARK: Final = 0.95
"""From this share on workers do so, too."""
LOOK_S: Final = 0.5
"""How long one look is good for."""
SAFE_POLICY: Final = "noeviction"


class EvictingServer(UserError):
    """This Redis is set to throw entries away when its memory is full; nothing was changed."""


@dataclass(frozen=True, slots=True)
class Memory:
    """What a Redis says of its memory, in bytes; `limit` is 0 where it has none.

    aof: it writes what it is told to an append-only file, so that it survives the process.
    """

    used: int = 0
    limit: int = 0
    policy: str = SAFE_POLICY
    aof: bool = True

    @property
    def share(self) -> float:
        """Share of the limit that is used; 0 without a limit."""
        return self.used / self.limit if self.limit else 0.0


def read_memory(redis: Client) -> Memory:
    """Ask a server. Raises ServerAway, OutcomeUnknown. One that does not let us ask is taken to have no limit."""
    try:
        facts = _facts(call(redis, "INFO", "memory")) | _facts(call(redis, "INFO", "persistence"))
    except NoPermissionError:
        return Memory()
    used = int(facts["used_memory"]) - int(facts.get("mem_not_counted_for_evict", 0))
    return Memory(used, int(facts["maxmemory"]), facts["maxmemory_policy"], facts["aof_enabled"] == "1")


def check_settings(redis: Client) -> list[str]:
    """What an operator should know of a server's settings before messages are trusted to it: sentences.

    Raises EvictingServer where they would break the promise; ServerAway, OutcomeUnknown.
    """
    seen = read_memory(redis)
    if seen.policy != SAFE_POLICY:
        raise EvictingServer(
            f"Redis at {address(redis)} has maxmemory-policy {seen.policy!r}: it would throw messages away when its "
            f"memory is full. Set `maxmemory-policy {SAFE_POLICY}` in its redis.conf (or CONFIG SET)"
        )
    if seen.aof:
        return []
    return [
        f"Redis at {address(redis)} has no append-only file: what it holds is lost when it stops. "
        "Set `appendonly yes` in its redis.conf"
    ]


def check_at_start(redis: Client) -> None:
    """What `check_settings` finds as warnings in the log, for a process that begins to work with a server.

    One that does not answer, which the process waits for anyway, is not checked. Raises EvictingServer.
    """
    try:
        warnings = check_settings(redis)
    except (ServerAway, OutcomeUnknown) as error:
        log.debug("settings are not checked: %s", error)
        return
    for warning in warnings:
        log.warning("%s", warning)


class Gauge:
    """Looks now and then how full a server is. Thread-safe: at worst two threads look at once.

    Args:
        clock: seconds, monotonic.
    """

    def __init__(self, redis: Client, clock: Callable[[], float] = time.monotonic) -> None:
        self._redis, self._clock = redis, clock
        self._seen = Memory()
        self._until = -1.0

    def check(self, mark: float) -> None:
        """Raise ServerFull if more than this share of the memory is used. Mostly asks nobody."""
        if self._clock() >= self._until:
            self._seen = read_memory(self._redis)
            self._until = self._clock() + LOOK_S
        if self._seen.share >= mark:
            raise ServerFull(
                f"Redis at {address(self._redis)} uses {self._seen.share:.0%} of its memory limit, and above "
                f"{mark:.0%} this has to wait until others have emptied it; nothing was written"
            )

    def check_ahead(self, mark: float, targets: Sequence[StreamKeys]) -> None:
        """The same, as long as the targets hold messages that their readers can carry on.

        Where they hold none, waiting would help nobody: to go on is what empties the memory.
        """
        try:
            self.check(mark)
        except ServerFull:
            if any(self._moves(at) for at in targets):
                raise

    def _moves(self, at: StreamKeys) -> bool:
        return bool(call(self._redis, "HLEN", at.groups)) and bool(call(self._redis, "XLEN", at.stream))


def _facts(text: bytes) -> dict[str, str]:
    """The lines of an INFO reply."""
    pairs = (line.partition(":") for line in text.decode().splitlines() if ":" in line)
    return {name: value for name, _, value in pairs}
