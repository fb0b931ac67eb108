"""How full streams were in the last minute, and when one that fills will be full.

Every process of a flow notes depths now and then; the note of one of them is enough.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import msgspec

from dataflow.flow.spec import Flow
from dataflow.store.keys import Keys
from dataflow.store.redis import Client, call
from dataflow.store.script import script

NOTE_EVERY_MS: Final = 5_000
NOTES: Final = 13
"""Notes that are kept: of the last minute."""
WINDOW_MS: Final = 62_000
SHORTEST_MS: Final = 2_000
"""Over less time than this nothing can be said of a rate."""


class Note(msgspec.Struct, frozen=True):
    """Messages in streams at one time (ms since 1970, by the server)."""

    at_ms: int
    depths: dict[str, int]


@dataclass(frozen=True, slots=True)
class Trend:
    """What was noted on one server, the newest first, and the server's time now."""

    notes: Sequence[Note] = ()
    now_ms: int = 0

    def growth_per_s(self, stream: str, depth: int) -> float | None:
        """Messages by which a stream grew per second in the last minute (less than 0: it empties).

        None where it is not known: nothing was noted in that time.
        """
        known = [
            note
            for note in self.notes
            if stream in note.depths and SHORTEST_MS <= self.now_ms - note.at_ms <= WINDOW_MS
        ]
        if not known:
            return None
        return (depth - known[-1].depths[stream]) * 1000 / (self.now_ms - known[-1].at_ms)


def full_in_s(depth: int, max_len: int | None, growth_per_s: float | None) -> float | None:
    """When a stream is full if it goes on to grow like this: 0 if it is; None if it does not grow, or nobody knows."""
    if max_len is None:
        return None
    if depth >= max_len:
        return 0.0
    return (max_len - depth) / growth_per_s if growth_per_s and growth_per_s > 0 else None


def note_depths(flow: Flow, redis: Client, connection: str) -> bool:
    """Note how full the streams of a connection are, unless someone just did. Call it every few seconds.

    Works at the server's memory limit, too. Raises ServerAway, OutcomeUnknown (harmless: call it again).
    """
    keys = Keys(flow.name)
    names = [stream.name for stream in flow.streams.values() if stream.on == connection]
    at = [keys.stream(name) for name in names]
    where = [key for one in at for key in (one.stream, one.counts)]
    return bool(script("trend").run(redis, [keys.trend, keys.live, *where], [NOTE_EVERY_MS, NOTES, *names]))


def read_trends(flow: Flow, clients: Mapping[str, Client]) -> dict[str, Trend]:
    """What was noted: connection -> trend. Raises ServerAway, OutcomeUnknown."""
    keys = Keys(flow.name)
    return {name: _trend(client, keys) for name, client in clients.items()}


def _trend(redis: Client, keys: Keys) -> Trend:
    notes = [msgspec.json.decode(raw, type=Note) for raw in call(redis, "LRANGE", keys.trend, 0, -1)]
    seconds, micros = call(redis, "TIME")
    return Trend(notes, int(seconds) * 1000 + int(micros) // 1000)
