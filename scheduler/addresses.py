"""Where a scheduler's servers are."""

from __future__ import annotations

from typing import Final

from dataflow.connections import resolve
from dataflow.errors import UserError
from dataflow.flow.spec import Flow

_NO_TASKS: Final = "has no mongo connection, so there is nowhere to keep its tasks: add `tasks: {mongo: embedded}`"


def addresses(flow: Flow) -> tuple[str, str]:
    """Its first Redis, with what belongs to no stream, and its MongoDB. Raises NotRunning, UserError."""
    if flow.scheduler.tasks is None:
        raise UserError(f"flow {flow.name!r} {_NO_TASKS}")
    resolved = resolve(flow)
    home = next(name for name, one in flow.connections.items() if one.kind == "redis")
    return resolved.redis[home], resolved.mongo[flow.scheduler.tasks]
