"""One API key. What is sent is `dfk_<id>_<secret>`; what is stored is the id and a digest of the secret.

The secret is 256 random bits, so there is nothing to guess and no dictionary to try: one round of SHA-256 keeps it as
safe as a slow hash keeps a password, and costs a request a microsecond. The comparison takes the same time wherever
the digests differ.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from typing import Final, NamedTuple

import msgspec

from dataflow.access.scopes import Scope, holds

PREFIX: Final = "dfk_"
NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
"""What a key may be called: the program or person that it is given to."""

_TOKEN: Final = re.compile(r"dfk_(?P<id>[0-9a-f]{12})_(?P<secret>[A-Za-z0-9_-]{43})")


class Key(msgspec.Struct, frozen=True, kw_only=True):
    """A key as it is stored. Times are ms since 1970; 0 stands for never.

    id: names this key; not a secret. name: who it was given to; the keys of one name stand for the same caller.
    digest: SHA-256 of the secret. rate: requests per second, 0 for no limit.
    """

    id: str
    name: str
    scopes: tuple[Scope, ...]
    digest: str
    created_ms: int
    expires_ms: int = 0
    revoked_ms: int = 0
    rate: float = 0.0

    def state(self, now_ms: int) -> str:
        """`live`, `expired` or `revoked`."""
        if self.revoked_ms:
            return "revoked"
        return "expired" if 0 < self.expires_ms <= now_ms else "live"

    @property
    def may(self) -> frozenset[Scope]:
        """Everything that it may do."""
        return holds(self.scopes)

    def opens_with(self, secret: str) -> bool:
        """Whether this is its secret. Takes the same time for every secret."""
        return hmac.compare_digest(self.digest, digest(secret))


class Token(NamedTuple):
    """What a caller sends, taken apart. Its repr does not show the secret."""

    id: str
    secret: str

    def __repr__(self) -> str:
        return f"Token({self.id}, ***)"

    @property
    def text(self) -> str:
        """The whole, as it is sent."""
        return f"{PREFIX}{self.id}_{self.secret}"


def mint() -> Token:
    """A new token, of 256 random bits."""
    return Token(secrets.token_hex(6), secrets.token_urlsafe(32))


def read_token(text: str) -> Token | None:
    """A token taken apart; None if this is none."""
    match = _TOKEN.fullmatch(text)
    return Token(match["id"], match["secret"]) if match else None


def digest(secret: str) -> str:
    """What is stored of a secret."""
    return hashlib.sha256(secret.encode()).hexdigest()
