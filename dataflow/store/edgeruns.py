"""How the last run of each edge ended, whoever ran it: it outlives the process, for those who look."""

from __future__ import annotations

import time
from dataclasses import dataclass

import msgspec

from dataflow.masking import mask_urls
from dataflow.store.keys import Keys
from dataflow.store.redis import Client, call
from dataflow.store.script import script


@dataclass(frozen=True, slots=True)
class EdgeRun:
    """The last run of an edge.

    state: how it ended. error: what went wrong, "" if nothing. mode: how the target knew a batch again when it was last
    opened, by this run or an earlier one; "" if it never was. at_ms: when it ended, ms since 1970.
    """

    state: str = ""
    error: str = ""
    mode: str = ""
    at_ms: int = 0


def note_edge_run(redis: Client, keys: Keys, edge: str, state: str, error: str, mode: str) -> None:
    """Note how a run has ended. Raises ServerAway, OutcomeUnknown (harmless).

    Args:
        mode: "" where the run has not opened the target; what is known stays then.
    """
    value = msgspec.json.encode({"state": state, "error": mask_urls(error), "at_ms": int(time.time() * 1000)})
    known = [_mode_of(edge), mode] if mode else []
    script("note").run(redis, [keys.edge_runs], [edge, value, *known])


def edge_runs(redis: Client, keys: Keys) -> dict[str, EdgeRun]:
    """edge -> its last run, of those that have run. Raises ServerAway, OutcomeUnknown."""
    flat = call(redis, "HGETALL", keys.edge_runs)
    found = {name.decode(): value for name, value in zip(flat[::2], flat[1::2], strict=True)}
    return {
        edge: EdgeRun(**msgspec.json.decode(value), mode=found.get(_mode_of(edge), b"").decode())
        for edge, value in found.items()
        if ":" not in edge
    }


def _mode_of(edge: str) -> str:
    return f"{edge}:mode"  # no name of an edge holds a colon
