"""The keys of a flow. They lie in the flow's own Redis: whoever serves the flow, on whichever host, asks for the same
keys, a revoked key is refused everywhere within seconds, and they are kept as durably as the messages.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from typing import Final

import msgspec

from dataflow.access.key import NAME, Key, Token, digest, mint
from dataflow.access.scopes import Scope
from dataflow.errors import OutcomeUnknown, ServerAway, UnknownName, UserError
from dataflow.store.keys import Keys
from dataflow.store.redis import Client, call

MOST_LIVE: Final = 2
"""Live keys of one name: one in use, and the one that replaces it."""

LOOK_EVERY_S: Final = 2.0
LOOK_AGAIN_S: Final = 0.2
"""How old what is known may be when a key is not in it: one that was just made gets in, and guesses cost little."""

Ring = Mapping[str, Key]
"""id -> key, the expired and the revoked ones included."""

Where = Callable[[], tuple[Client, Keys]]
"""The Redis with the keys of a flow, as the flow is now."""


def read_ring(redis: Client, keys: Keys) -> dict[str, Key]:
    """All keys of a flow, the oldest first. Raises ServerAway, OutcomeUnknown (ask again)."""
    pairs = call(redis, "HGETALL", keys.access_keys)
    found = [msgspec.json.decode(value, type=Key) for value in pairs[1::2]]
    return {key.id: key for key in sorted(found, key=lambda key: (key.created_ms, key.id))}


def add_key(
    redis: Client, keys: Keys, name: str, scopes: tuple[Scope, ...], *, expires_ms: int = 0, rate: float = 0.0
) -> tuple[Key, Token]:
    """Make a key. The token is nowhere but in what this returns.

    Raises UserError (the name cannot be used, or has two live keys), ServerAway, ServerFull: no key was made.
    OutcomeUnknown: a key may have been made that nobody knows the secret of; revoke it and make another.
    """
    if not NAME.fullmatch(name):
        raise UserError(f"{name!r} cannot name a key: use letters, digits, _ . and -, at most 64")
    now_ms = time.time_ns() // 1_000_000
    if 0 < expires_ms <= now_ms:
        raise UserError("the key would have expired already")
    live = [key.id for key in read_ring(redis, keys).values() if key.name == name and key.state(now_ms) == "live"]
    if len(live) >= MOST_LIVE:
        raise UserError(f"{name!r} has {len(live)} live keys ({', '.join(live)}): revoke one before you make another")
    token = mint()
    key = Key(
        id=token.id, name=name, scopes=scopes, digest=digest(token.secret), created_ms=now_ms, expires_ms=expires_ms,
        rate=rate,
    )  # fmt: skip
    _write(redis, keys, key)
    return key, token


def revoke(redis: Client, keys: Keys, which: str) -> list[Key]:
    """Revoke the key of an id, or all live keys of a name. Returns those that were live until now.

    A revoked key stays on record: a flow that has ever had keys goes on asking for one.

    Raises UnknownName, ServerAway, OutcomeUnknown (repeat it).
    """
    ring = read_ring(redis, keys)
    meant = [key for key in ring.values() if which in (key.id, key.name)]
    if not meant:
        raise UnknownName(f"no key has the id or the name {which!r}; `dataflow key ls` lists them")
    now_ms = time.time_ns() // 1_000_000
    live = [key for key in meant if key.state(now_ms) == "live"]
    for key in live:
        _write(redis, keys, msgspec.structs.replace(key, revoked_ms=now_ms))
    return live


def _write(redis: Client, keys: Keys, key: Key) -> None:
    call(redis, "HSET", keys.access_keys, key.id, msgspec.json.encode(key))


class LiveRing:
    """The keys as they were at most two seconds ago. Thread-safe.

    While Redis is away the last known keys hold; expiry goes by this machine's clock.

    Args:
        where: the Redis with the keys.
        clock: seconds, monotonic.
    """

    def __init__(self, where: Where, clock: Callable[[], float] = time.monotonic) -> None:
        self._where = where
        self._clock = clock
        self._ring: Ring | None = None
        self._next_look = 0.0
        self._lock = threading.Lock()

    def find(self, key_id: str) -> Key | None:
        """The key of this id. One that is not known is looked for in Redis, unless that was just done.

        Raises as `current` does.
        """
        found = self.current().get(key_id)
        if found is None and self._clock() >= self._next_look - LOOK_EVERY_S + LOOK_AGAIN_S:
            self._next_look = self._clock()
            found = self.current().get(key_id)
        return found

    def current(self) -> Ring:
        """The keys. Now and then one caller asks Redis first; the others do not wait for it.

        Raises ServerAway, OutcomeUnknown: Redis cannot be reached, and never could be.
        """
        known = self._ring
        if known is not None and self._clock() < self._next_look:
            return known
        if not self._lock.acquire(blocking=known is None):
            return known or {}
        try:
            return self._look()
        finally:
            self._lock.release()

    def _look(self) -> Ring:
        if self._ring is not None and self._clock() < self._next_look:
            return self._ring
        try:
            self._ring = read_ring(*self._where())
        except (ServerAway, OutcomeUnknown):
            if self._ring is None:
                raise
        finally:
            self._next_look = self._clock() + LOOK_EVERY_S
        return self._ring
