"""Runs of edges that were asked for by HTTP: what was given out, and what became of it. Bounded in number and time."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from dataflow.store.keys import Keys
from dataflow.store.redis import Client, call
from dataflow.store.script import script

KEPT_S: Final = 86_400
"""How long a run is remembered."""
MOST: Final = 10_000
"""How many runs of a flow are remembered; the oldest are forgotten first."""
MAX_ERROR: Final = 2000
"""Characters of an error that are kept."""


@dataclass(frozen=True, slots=True)
class AskedRun:
    """A run that was asked for `age_s` ago. `began`: a sync process took it. `outcome`: what it did, once it ended."""

    edge: str
    age_s: float
    began: bool
    outcome: Mapping[str, Any] | None


class AskedRuns:
    """The runs of one flow that were asked for. Thread-safe; every call blocks until Redis has answered.

    Every method raises ServerAway, OutcomeUnknown, redis.exceptions.ResponseError.

    Args:
        redis: where the flow keeps what belongs to no stream.
        keys: the flow's.
    """

    def __init__(self, redis: Client, keys: Keys) -> None:
        self._redis = redis
        self._keys = keys.runs

    def ask(self, run: str, edge: str) -> None:
        """Remember that this run was asked for. Raises ServerFull too."""
        script("ask").run(self._redis, self._keys, [run, edge, KEPT_S * 1000, MOST])

    def forget(self, run: str) -> None:
        """It was not asked for after all."""
        records, ages = self._keys
        call(self._redis, "HDEL", records, run, f"{run}:begun", f"{run}:ended")
        call(self._redis, "ZREM", ages, run)

    def begin(self, run: str) -> bool:
        """A sync process has taken it. Returns whether the run is known; for another one nothing happens."""
        return bool(script("report").run(self._redis, self._keys, [run, "begun", "{}"]))

    def end(self, run: str, outcome: Mapping[str, Any]) -> None:
        """What it did. The first outcome stays: a hint may come twice, and the second finds nothing left to do."""
        short = {**outcome, "error": str(outcome.get("error", ""))[:MAX_ERROR]}
        script("report").run(self._redis, self._keys, [run, "ended", msgspec.json.encode(short)])

    def find(self, run: str) -> AskedRun | None:
        """A run that was asked for; None if it was not, or is forgotten."""
        asked, begun, ended = call(self._redis, "HMGET", self._keys[0], run, f"{run}:begun", f"{run}:ended")
        if asked is None:
            return None
        record = msgspec.json.decode(asked)
        seconds, micros = call(self._redis, "TIME")
        age_s = int(seconds) + int(micros) / 1e6 - record["asked_ms"] / 1000
        if age_s > KEPT_S:
            return None
        outcome = None if ended is None else msgspec.json.decode(ended)
        return AskedRun(record["edge"], max(age_s, 0.0), begun is not None, outcome)
