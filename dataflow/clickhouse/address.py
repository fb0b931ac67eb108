"""Where a ClickHouse server is, and how to talk to it: a `clickhouse://` address taken apart. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final
from urllib.parse import parse_qsl, unquote, urlsplit

from dataflow.errors import UserError

PORT: Final = 9000
SECURE_PORT: Final = 9440
_PLAIN, _SECURE = "clickhouse", "clickhouses"
_TRUTH: Final = {"1": True, "true": True, "yes": True, "0": False, "false": False, "no": False}


def _truth(text: str) -> bool:
    return _TRUTH[text.lower()]


def _seconds(text: str) -> float:
    seconds = float(text)
    if not 0 < seconds <= 3600:
        raise ValueError(text)
    return seconds


OPTIONS: Final[Mapping[str, Callable[[str], Any]]] = {
    "connect_timeout": _seconds,
    "send_receive_timeout": _seconds,
    "verify": _truth,
    "check_hostname": _truth,
    "ca_certs": str,
    "certfile": str,
    "keyfile": str,
    "server_hostname": str,
}
"""What may stand behind the `?` of an address, and how its value is read."""


@dataclass(frozen=True, slots=True)
class ServerAddress:
    """One ClickHouse server. The repr never shows the password.

    database: the one that names without a database mean; empty for the user's default.
    """

    host: str
    port: int
    secure: bool = False
    user: str = "default"
    password: str = field(default="", repr=False)
    database: str = ""
    options: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def read(cls, url: str) -> ServerAddress:
        """Take `clickhouse://user:password@host:port/database?option=value` apart; `clickhouses://` is TLS.

        Raises UserError, which never shows the address: it may hold a secret.
        """
        try:
            parts = urlsplit(url)
            host, port = parts.hostname, parts.port
        except ValueError:
            raise UserError("host or port cannot be read") from None
        if parts.scheme not in (_PLAIN, _SECURE):
            raise UserError(f"it does not begin with {_PLAIN}:// or {_SECURE}://")
        if not host:
            raise UserError("it names no host")
        secure = parts.scheme == _SECURE
        return cls(
            host=host,
            port=port or (SECURE_PORT if secure else PORT),
            secure=secure,
            user=unquote(parts.username or "default"),
            password=unquote(parts.password or ""),
            database=_database(parts.path),
            options=_options(parts.query),
        )

    @property
    def place(self) -> str:
        """host:port, for messages."""
        return f"{self.host}:{self.port}"

    def without_database(self) -> ServerAddress:
        """The same server, not tied to a database, which may have to be made first."""
        return replace(self, database="")


def _database(path: str) -> str:
    name = unquote(path.removeprefix("/"))
    if "/" in name:
        raise UserError("what follows the host is not the name of one database")
    return name


def _options(query: str) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, text in parse_qsl(query, keep_blank_values=True):
        if name not in OPTIONS:
            raise UserError(f"its option {name!r} is not known; known are {', '.join(OPTIONS)}")
        try:
            found[name] = OPTIONS[name](text)
        except (ValueError, KeyError):
            raise UserError(f"its option {name!r} has a value that cannot be used") from None
    return found
