"""What a run has come to, as JSON and as a line of text. Pure."""

from __future__ import annotations

from typing import Any, Final

from dataflow.store.runs import AskedRun
from sync.api.runs import HINT_LIVES_S, lost

_NUMBERS: Final = ("read", "written", "skipped", "dead", "remaining")


def as_json(run: AskedRun) -> dict[str, Any]:
    """{state, read, written, skipped, dead, remaining, seconds, batches, edge, error}.

    The states are those of a run (docs/EDGES.md), and before it has ended: waiting, running, lost.
    """
    outcome = run.outcome or {}
    numbers = {name: outcome.get(name, 0) for name in (*_NUMBERS, "seconds", "batches")}
    error = outcome.get("error", "") or _why(run)
    return {"state": _state(run), **numbers, "edge": run.edge, "error": error}


def as_text(run: AskedRun) -> str:
    """One line."""
    found = as_json(run)
    if run.outcome is None:
        return f"{found['state']}: {found['error']}"
    numbers = ", ".join(f"{name} {found[name]}" for name in _NUMBERS)
    line = f"{found['state']}: {numbers}, {found['seconds']:.3f} s"
    return f"{line}: {' '.join(found['error'].split())}" if found["error"] else line


def _state(run: AskedRun) -> str:
    if run.outcome is not None:
        return str(run.outcome.get("state"))
    if run.began:
        return "running"
    return "lost" if lost(run) else "waiting"


def _why(run: AskedRun) -> str:
    if run.outcome is not None:
        return ""
    if run.began:
        return f"edge {run.edge} is being run since less than {run.age_s:.0f} s; ask again"
    if lost(run):
        return f"no sync process took it within {HINT_LIVES_S:g} s: is `dataflow sync` running? Ask for a new run"
    return f"no sync process has taken it yet, asked for {run.age_s:.0f} s ago; ask again"
