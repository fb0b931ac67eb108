"""The state machine of a task. Pure.

A task is `init` (not scheduled), `running` (scheduled) or `paused` (scheduled, but its ticks do not fire). Its document
says in `set_to_status` which of them it should be; there are four moves:

| move | from | to |
|---|---|---|
| publish | init | running |
| pause | running | paused |
| resume | paused | running |
| delete | any | init |
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal, cast

State = Literal["init", "running", "paused"]
Move = Literal["publish", "pause", "resume", "delete"]

STATES: Final[tuple[State, ...]] = ("init", "running", "paused")

MOVES: Final[Mapping[Move, tuple[tuple[State, ...], State]]] = {
    "publish": (("init",), "running"),
    "pause": (("running",), "paused"),
    "resume": (("paused",), "running"),
    "delete": (STATES, "init"),
}
"""Move -> the states in which it is allowed, and the state to which it leads."""


@dataclass(frozen=True, slots=True)
class Decision:
    """What follows from a wish: the state to be in, by which move (None: it stays), and why a wish was not heeded."""

    state: State
    move: Move | None = None
    why: str = ""


def decide(state: State, wish: object, enabled: bool = True) -> Decision:
    """What a document's wish means for a task.

    Args:
        state: what the task is.
        wish: `set_to_status` of the document, whatever it holds.
        enabled: `is_enable`; a task that is not enabled counts as one that should be init.
    """
    if not enabled:
        wish = "init"
    if wish in (None, ""):
        return Decision(state, why="set_to_status is empty")
    if wish not in STATES:
        return Decision(state, why=f"set_to_status is {wish!r}, which is none of {', '.join(STATES)}")
    if wish == state:
        return Decision(state)
    for move, (sources, target) in MOVES.items():
        if target == wish and state in sources:
            return Decision(target, move)
    return Decision(state, why=f"set_to_status is {wish!r}, but a task that is {state} cannot become that")


def allowed(state: State, move: Move) -> str:
    """Why a move is not allowed in a state; "" if it is."""
    sources = MOVES[move][0]
    return "" if state in sources else f"the task is {state}, and {move} is allowed from {' and '.join(sources)} only"


def state_of(text: Any) -> State:
    """The state that a document tells; init for one that tells none."""
    return cast(State, text) if text in STATES else "init"
