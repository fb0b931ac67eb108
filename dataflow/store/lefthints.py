"""Hints that the broker does not take, left in the flow's own Redis, where scripts can write at maxmemory.

At its memory limit Redis refuses Celery's messages, and with them the runs that would make room. So they are left here,
and the sync process looks for them. Like every hint they may be lost, and a second one does no harm.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from dataflow.store.keys import Keys
from dataflow.store.redis import Client, call
from dataflow.store.script import script

KEPT_S: Final = 60
"""How long the end of a run is remembered; who left the hint asks every few seconds."""
MAX_ERROR: Final = 2000
"""Characters of an error that are kept."""


@dataclass(frozen=True, slots=True)
class LeftHint:
    """Asks for a run of `edge`. `hint`: by which id its end is asked for. `tick`: for which tick (ms since 1970)."""

    edge: str
    hint: str
    tick: int


class LeftHints:
    """The hints of one flow that were left, one per edge at most. Thread-safe; blocks until Redis has answered.

    Every method raises ServerAway, OutcomeUnknown, redis.exceptions.ResponseError.

    Args:
        redis: where the flow keeps what belongs to no stream.
        keys: the flow's.
    """

    def __init__(self, redis: Client, keys: Keys) -> None:
        self._redis = redis
        self._keys = keys

    def leave(self, edge: str, tick: int, hint: str, lives_s: float) -> None:
        """Leave one in place of an earlier one of the same edge; it is worth nothing after `lives_s`."""
        script("leave").run(self._redis, [self._keys.left_hints], [edge, hint, tick, int(lives_s * 1000)])

    def take(self) -> list[LeftHint]:
        """Those that are worth something. They are gone from there: no one else gets them."""
        flat = [part.decode() for part in script("take").run(self._redis, [self._keys.left_hints], [])]
        return [LeftHint(edge, hint, int(tick)) for edge, hint, tick in zip(*[iter(flat)] * 3, strict=True)]

    def tell(self, hint: str, end: Mapping[str, Any]) -> None:
        """Tell how the run has ended that a hint asked for."""
        short = msgspec.json.encode({**end, "error": str(end.get("error", ""))[:MAX_ERROR]})
        script("tell").run(self._redis, [self._keys.left_hints, self._keys.left_end(hint)], [short, KEPT_S * 1000])

    def end(self, hint: str) -> Mapping[str, Any] | None:
        """How that run has ended; None if it has not, or is forgotten."""
        found = call(self._redis, "GET", self._keys.left_end(hint))
        return None if found is None else dict(msgspec.json.decode(found))
