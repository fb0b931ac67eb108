"""Who asks Redis: the role of a process by its command line, of a call by the code that it comes from."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from pathlib import Path
from types import FrameType

ROOT = Path(__file__).resolve().parents[2]
TESTS: str | None = None
"""The role of tests: the user `default`, who may do anything."""

SERVICES = ("hub", "worker", "sync", "sync-api", "scheduler")
LOOKING = ("status", "tail", "history", "graph", "sql", "probe", "send", "check", "ddl")
"""Commands of a viewer. What is neither these nor a service is an operator's."""

_PLUMBING = (
    "dataflow/store/redis.py", "dataflow/store/pool.py", "dataflow/store/script.py", "dataflow/sockets.py",
    "dataflow/up/redis_server.py", "tests/redis_users/",
)  # fmt: skip
_OF_TESTS = ("tests/", "benchmarks/", "dataflow/testing/")
_ROLES: dict[str, str | None] = {
    "message_hub/": "hub",
    "workers/": "worker",
    "sync/api/": "sync-api",
    "sync/ddl_command.py": "viewer",
    "sync/": "sync",
    "scheduler/task_command.py": "operator",
    "scheduler/": "scheduler",
    "dataflow/qmanager.py": TESTS,  # a script of a user's own, with a user of its own
    "dataflow/doctor/": "operator",
    "dataflow/up/": "operator",
    **{f"dataflow/cli/{name}.py": "viewer" for name in LOOKING},
    **{f"dataflow/cli/{name}.py": "operator" for name in ("apply", "audit", "dlq", "doctor", "edges", "key", "up")},
}
_STORE = {
    "door": "hub",
    "hop": "worker",
    "lane": "sync",
    "target": "sync",
    "intake": "sync",
    "leadership": "scheduler",
    "reading": "viewer",
}
"""Whose a module of dataflow/store is when a test calls it without any room; the others are an operator's."""


def role_of_command(arguments: Sequence[str]) -> str | None:
    """The role of a process, by its command line; None if it runs no command of ours.

    `key ls` and `audit` without --rebase are a viewer's.
    """
    if "dataflow" not in (names := [Path(word).name for word in arguments]):
        return None
    command, *rest = [*names[names.index("dataflow") + 1 :], ""]
    looks = command in LOOKING or (command == "key" and rest[0] == "ls")
    looks = looks or (command == "audit" and "--rebase" not in rest)
    return command if command in SERVICES else "viewer" if looks else "operator"


def role_of_call(frame: FrameType | None) -> str | None:
    """The role of a call in a test's process: TESTS if a test itself asks, else the outermost room or command."""
    asking = [place for place in _places(frame) if not place.startswith(_PLUMBING)]
    if not asking or asking[0].startswith(_OF_TESTS):
        return TESTS
    for place in reversed(asking):
        for prefix, role in _ROLES.items():
            if place.startswith(prefix):
                return role
    return _STORE.get(Path(asking[0]).stem, "operator") if asking[0].startswith("dataflow/store/") else "operator"


def _places(frame: FrameType | None) -> list[str]:
    """Files of this checkout on the stack, innermost first."""
    found = []
    while frame is not None:
        if place := _place(frame.f_code.co_filename):
            found.append(place)
        frame = frame.f_back
    return found


_TREES = ("tests", "benchmarks", "dataflow", "message_hub", "workers", "sync", "scheduler")


@cache
def _place(filename: str) -> str:
    """Where a file lies, from the checkout's root; empty if it is none of ours."""
    path = Path(filename)
    if not path.is_relative_to(ROOT):
        return ""
    place = path.relative_to(ROOT)
    return place.as_posix() if place.parts[0] in _TREES else ""
