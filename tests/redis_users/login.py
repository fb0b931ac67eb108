"""Lets every connection of this process log in as the user of whoever asks, and writes refusals down.

A connection belongs to one user for its life, as in a deployment: a pool lends only those of the right one. Where a
server has no such users (Redis 6, the embedded one of `dataflow up`), or an address names its own, nothing changes.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from redis.connection import AbstractConnection, ConnectionPool
from redis.exceptions import ResponseError

from dataflow.store.pool import Pool

from .roles import role_of_call, role_of_command

FOLDER_VARIABLE = "DATAFLOW_SUITE_USERS"
ROLE_VARIABLE = "DATAFLOW_SUITE_ROLE"
FLOW = "suite"
REFUSED = "refused.jsonl"

_REFUSALS = ("NOPERM", "no permissions to", "can't run this command", "can't access at least one of the keys")


@dataclass(frozen=True, slots=True)
class Users:
    """The folder that new-users made. A process's role is fixed if it runs a command."""

    folder: Path
    role: str | None = None

    def asks(self) -> str | None:
        """The role of whoever asks for a connection now."""
        return self.role or role_of_call(sys._getframe(2))

    def password(self, role: str) -> str:
        """Of a role's user."""
        return (self.folder / f"{role}.password").read_text()

    def note(self, role: str, error: Exception) -> None:
        """Write a refusal down."""
        with (self.folder / REFUSED).open("a") as file:
            file.write(json.dumps({"role": role, "error": str(error)}) + "\n")


def install_in_child(environ: Mapping[str, str] = os.environ) -> None:
    """`install`, in a process that a test has started. Its children have its role, unless they run a command.

    A program that starts its processes without our settings, as chaos does, has servers of its own.
    """
    if FOLDER_VARIABLE not in environ:
        return
    role = role_of_command(sys.orig_argv) or environ.get(ROLE_VARIABLE)
    if role:
        os.environ[ROLE_VARIABLE] = role
    install(Users(Path(environ[FOLDER_VARIABLE]), role))


def install(users: Users) -> None:
    """Change redis-py in this process, for good."""
    ConnectionPool.get_connection = _lending(users, ConnectionPool.get_connection)  # type: ignore[method-assign]
    Pool.lend = _lending_warm(users, Pool.lend)  # type: ignore[method-assign]
    AbstractConnection.on_connect_check_health = _logging_in(  # type: ignore[method-assign]
        users, AbstractConnection.on_connect_check_health
    )
    AbstractConnection.read_response = _noting(users, AbstractConnection.read_response)  # type: ignore[method-assign]


def _lending(users: Users, lend: Callable[..., Any]) -> Callable[..., Any]:
    def get_connection(pool: Any, *args: Any, **options: Any) -> Any:
        if _names_its_own(pool):
            return lend(pool, *args, **options)
        role = users.asks()
        while True:
            _put_on_top(pool, role)
            link = lend(pool, *args, **options)
            if getattr(link, "suite_role", None) == role:
                return link
            pool.release(link)  # another thread was faster

    return get_connection


def _lending_warm(users: Users, lend: Callable[..., Any]) -> Callable[..., Any]:
    """The same for the connections that our own pool keeps; where it has none, it asks `get_connection`."""

    def lend_(pool: Any) -> Any:
        role = users.asks()
        for link in reversed(pool._warm[:]):
            if getattr(link, "suite_role", None) == role:
                with suppress(ValueError):  # another thread was faster
                    pool._warm.remove(link)
                    pool._warm.append(link)
                break
        link = lend(pool)
        if getattr(link, "suite_role", None) == role or _names_its_own(pool):
            return link
        pool.release(link)
        return pool.get_connection()

    return lend_


def _names_its_own(pool: Any) -> bool:
    """Whether the address names a user."""
    return any(pool.connection_kwargs.get(name) for name in ("username", "password", "credential_provider"))


def _put_on_top(pool: Any, role: str | None) -> None:
    """Let the connection that the pool lends next be one of this role."""
    with pool._lock:
        free = pool._available_connections
        for link in reversed(free):
            if getattr(link, "suite_role", None) == role:
                free.remove(link)
                break
        else:
            link = pool.make_connection()
            link.suite_role = role
        free.append(link)


def _logging_in(users: Users, greet: Callable[..., Any]) -> Callable[..., Any]:
    def on_connect_check_health(link: Any, check_health: bool = True) -> None:
        greet(link, check_health)
        role, link.suite_user = getattr(link, "suite_role", None), None
        if role is not None and _ask(link, "ACL", "GETUSER", user := f"{FLOW}.{role}"):
            _ask(link, "AUTH", user, users.password(role))
            link.suite_user = role

    return on_connect_check_health


def _ask(link: Any, *command: str) -> Any:
    link.send_command(*command, check_health=False)
    return link.read_response()


def _noting(users: Users, read: Callable[..., Any]) -> Callable[..., Any]:
    def read_response(link: Any, *args: Any, **options: Any) -> Any:
        try:
            return read(link, *args, **options)
        except ResponseError as error:
            role = getattr(link, "suite_user", None)
            if role is not None and any(words in str(error) for words in _REFUSALS):
                users.note(role, error)
            raise

    return read_response
