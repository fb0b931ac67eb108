"""What a key may do. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final, Literal, get_args

Scope = Literal["viewer", "produce", "operate", "admin"]
SCOPES: Final[tuple[Scope, ...]] = get_args(Scope)

MEANING: Final[Mapping[Scope, str]] = {
    "viewer": "look: messages, results, tasks, queue sizes, the details of health",
    "produce": "send messages, and ask where they are",
    "operate": "change what runs: tasks, edges, replays; and look",
    "admin": "everything, with what decides which code runs",
}

_INCLUDES: Final[Mapping[Scope, frozenset[Scope]]] = {
    "viewer": frozenset({"viewer"}),
    "produce": frozenset({"produce"}),
    "operate": frozenset({"operate", "viewer"}),
    "admin": frozenset(SCOPES),
}

Need = frozenset[Scope] | None
"""What a request asks for: any one of these scopes. Empty: a key, whatever it may. None: nothing, it is open to all."""

OPEN: Final[Need] = None
ANY_KEY: Final[Need] = frozenset()


def needs(*scopes: Scope) -> Need:
    """Any one of these scopes will do."""
    return frozenset(scopes)


def holds(scopes: Iterable[Scope]) -> frozenset[Scope]:
    """These scopes with all that they include."""
    return frozenset().union(*(_INCLUDES[scope] for scope in scopes))
