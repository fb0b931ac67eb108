"""Streams without a reader: kept for looking at, trimmed to what the flow file's `keep` says."""

from __future__ import annotations

from dataflow.flow.spec import Flow
from dataflow.store.keys import Keys
from dataflow.store.redis import Client
from dataflow.store.script import script

KEEP_EVERY_S = 1.0
_HOUR_MS = 3_600_000


def trim_kept(flow: Flow, redis: Client, connection: str) -> int:
    """Trim every stream of a connection that has `keep` and no reader. Call it every KEEP_EVERY_S.

    Returns how many entries went. Raises ServerAway, OutcomeUnknown (harmless: call it again).
    """
    keys = Keys(flow.name)
    removed = 0
    for stream in flow.streams.values():
        if stream.on != connection or flow.readers(stream.name):
            continue
        if stream.keep_messages is None and stream.keep_hours is None:
            continue
        at = keys.stream(stream.name)
        messages = "" if stream.keep_messages is None else stream.keep_messages
        age_ms = "" if stream.keep_hours is None else int(stream.keep_hours * _HOUR_MS)
        removed += script("keep").run(redis, [at.stream, at.groups, at.counts], [messages, age_ms])
    return removed
