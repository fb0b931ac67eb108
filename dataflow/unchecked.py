"""Addresses that ask for TLS and turn the checks of certificates off. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final
from urllib.parse import parse_qsl, urlsplit

_NO: Final = frozenset({"false", "0", "no"})
_YES: Final = frozenset({"true", "1", "yes"})
_NONE: Final = frozenset({"none", "cert_none", "0"})

_TURNED_OFF: Final[Mapping[str, frozenset[str]]] = {
    "ssl_cert_reqs": _NONE,
    "ssl_check_hostname": _NO,
    "verify": _NO,
    "check_hostname": _NO,
    "tlsinsecure": _YES,
    "tlsallowinvalidcertificates": _YES,
    "tlsallowinvalidhostnames": _YES,
}
"""Options of all kinds of addresses, in small letters, and the values with which anybody is believed."""


def unchecked(url: str) -> tuple[str, ...]:
    """The options of an address with which a server is believed whoever it is: none in a sound address.

    An address that cannot be read has none: others refuse it. What is returned holds no secret.
    """
    try:
        options = parse_qsl(urlsplit(url).query, keep_blank_values=True)
    except ValueError:
        return ()
    return tuple(f"{name}={text}" for name, text in options if text.lower() in _TURNED_OFF.get(name.lower(), ()))
