"""An edge that pauses itself, in the history of changes."""

from __future__ import annotations

from dataflow.access import history
from dataflow.flow.spec import Flow
from dataflow.masking import mask_urls
from dataflow.store.alarms import MAX_TEXT
from dataflow.store.keys import Keys
from dataflow.store.redis import Client


def note_pause(home: Client, flow: Flow, edge: str, reason: str) -> None:
    """Note that an edge has paused itself, once it has. Blocks for Redis; never raises on its account."""
    history.record(home, Keys(flow.name), f"edge {edge}", "edge pause", edge, reason=mask_urls(reason)[:MAX_TEXT])
