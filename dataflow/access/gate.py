"""Decides over one request: who asks, and may they. Knows nothing of any web framework."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from dataflow.access.bucket import draw
from dataflow.access.hosts import Hosts
from dataflow.access.key import Key, read_token
from dataflow.access.ring import LiveRing, Where
from dataflow.access.scopes import OPEN, SCOPES, Need, Scope
from dataflow.errors import DataflowError, OutcomeUnknown, ServerAway, UserError
from dataflow.faults import show

HOW: Final = "send a key as `Authorization: Bearer <key>` or `X-API-Key: <key>`; `dataflow key new` makes one"


class Denied(UserError):
    """This caller may not do this; nothing was done.

    Args:
        status: HTTP status: 400, 401, 403, 421 or 429.
        message: what is missing and how to get it.
        data: the same for programs.
        headers: of the answer.
    """

    def __init__(
        self, status: int, message: str, data: Mapping[str, Any] | None = None, headers: Mapping[str, str] | None = None
    ) -> None:
        self.status = status
        self.data = data or {}
        self.headers = headers or {}
        super().__init__(message)


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks. `key_id` and `name` are empty for a caller without a key; `may` is what it may do all the same."""

    name: str
    key_id: str
    may: frozenset[Scope]


NOBODY: Final = Caller("", "", frozenset())
ANYBODY: Final = Caller("", "", frozenset(SCOPES))
"""Who asks a flow that has no keys, on loopback."""
LOOPBACK: Final = Hosts()


class Gate:
    """Lets requests in. Thread-safe.

    Keys are asked for when they are required, and as soon as the flow has had any. Until then a request has to name
    one of our own names as its Host.

    Args:
        where: the Redis with the flow's keys.
        required: ask for a key even while the flow has none.
        hosts: our own names; None: any.
    """

    def __init__(self, where: Where, *, required: bool = False, hosts: Hosts | None = LOOPBACK) -> None:
        self.where = where
        self._required = required
        self._hosts = hosts
        self._ring = LiveRing(where)

    def admit(self, headers: Mapping[str, str], need: Need) -> Caller:
        """Who sends these headers (Authorization, X-API-Key and Host, if they are there), if they may.

        What is open to all never fails here: a key that does not hold counts as none.

        Raises Denied; ServerAway, ServerFull: it cannot be told; nothing was done.
        """
        try:
            return self._judged(headers, need)
        except OutcomeUnknown as error:
            if need is OPEN:
                return NOBODY
            raise ServerAway(f"keys cannot be looked up: {error}") from error
        except DataflowError:
            if need is OPEN:
                return NOBODY
            raise

    def _judged(self, headers: Mapping[str, str], need: Need) -> Caller:
        if not self._ring.current() and not self._required:
            self._check_host(headers.get("Host"))
            return ANYBODY
        key = key_of(headers, self._ring.find, need, time.time_ns() // 1_000_000)
        if need is not OPEN:
            self._check_rate(key)
            check_scope(key, need)
        return Caller(key.name, key.id, key.may)

    def _check_host(self, host: str | None) -> None:
        if host and self._hosts and not self._hosts.known(host):
            text = (
                f"without keys only this machine gets in, and {show(host)!r} is none of its names; nothing was done: "
            )
            text += "ask at localhost or 127.0.0.1, or make a key (`dataflow key new`), or start the service with this "
            text += "name in DATAFLOW_HOST_NAMES, or with --insecure"
            raise Denied(421, text, {"outcome": "not_stored"})

    def _check_rate(self, key: Key) -> None:
        wait_s = draw(*self.where(), key) if key.rate else 0.0
        if wait_s:
            data = {"key": key.id, "rate": key.rate, "outcome": "not_stored"}
            text = f"key {key.id} ({key.name}) may send {key.rate:g} requests a second; nothing was done: wait"
            raise Denied(429, text, data, {"Retry-After": str(math.ceil(wait_s))})


def key_of(headers: Mapping[str, str], find: Callable[[str], Key | None], need: Need, now_ms: int) -> Key:
    """The live key that these headers bring, if `find` knows its id. Raises Denied 400, 401."""
    text = _sent(headers)
    if text is None:
        raise _unknown(f"a key {_with(need)}is needed; {HOW}", need)
    token = read_token(text)
    key = find(token.id) if token else None
    if token is None or key is None or not key.opens_with(token.secret):
        raise _unknown(f"this key is not known to this flow; {HOW}", need)
    state = key.state(now_ms)
    if state != "live":
        raise _unknown(f"key {key.id} ({key.name}) is {state}; `dataflow key new` makes another", need)
    return key


def check_scope(key: Key, need: Need) -> None:
    """Raise Denied 403 unless the key may. Pure."""
    if need and not need & key.may:
        text = f"key {key.id} ({key.name}) has the scope {_either(key.scopes)}; this needs {_either(need)}"
        raise Denied(403, text, {"needs": _sorted(need), "has": list(key.scopes), "key": key.id})


def _sent(headers: Mapping[str, str]) -> str | None:
    kind, _, bearer = headers.get("Authorization", "").partition(" ")
    given = {bearer.strip()} if kind.lower() == "bearer" else set()
    given |= {headers["X-API-Key"].strip()} if "X-API-Key" in headers else set()
    if len(given) > 1:
        raise Denied(400, "Authorization and X-API-Key hold different keys; send one")
    return given.pop() if given else None


def _unknown(text: str, need: Need) -> Denied:
    return Denied(401, text, {"needs": _sorted(need or ())}, {"WWW-Authenticate": 'Bearer realm="dataflow"'})


def _with(need: Need) -> str:
    return f"with the scope {_either(need)} " if need else ""


def _either(scopes: Iterable[Scope]) -> str:
    return " or ".join(_sorted(scopes))


def _sorted(scopes: Iterable[Scope]) -> list[Scope]:
    return sorted(scopes, key=SCOPES.index)
