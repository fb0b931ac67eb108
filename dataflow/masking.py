"""Hides the secrets of addresses, and what stands under a name that tells of one: what is shown or logged goes through
here.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import unquote

MASK = "***"

# scheme://user:password@ or scheme://:password@ ; a careless password may hold "@", none may hold "/".
_CREDENTIALS = re.compile(r"(?P<head>\b[a-zA-Z][a-zA-Z0-9+.-]*://[^\s/@:]*:)[^\s/]+(?P<at>@)")
_PARAMETER = re.compile(r"[?&;#](?P<name>[^\s?&;#=]+)=")
_VALUE = re.compile(r"[^\s&;]*")

_SECRET_NAME = re.compile(
    r"pwd|passw|pass_?phrase|secret|token|(api|private|access)[_-]?key|credential|authori[sz]ation|cookie|signature"
    r"|mechanism_?properties|(?<![a-z])(pass|sig|auth|jwt|bearer|hmac|otp)(?![a-z])",
    re.IGNORECASE,
)
_SECRET_IN_QUERIES = re.compile(r"key$|^code$", re.IGNORECASE)
"""Names that tell of a secret in a query alone: in other data, keys and codes are mostly harmless."""


def is_secret_name(name: str) -> bool:
    """Whether a field of this name is likely to hold a secret."""
    return _SECRET_NAME.search(name) is not None


def mask_url(url: str) -> str:
    """An address without its password: `redis://:hunter2@host/0` becomes `redis://:***@host/0`."""
    return mask_urls(url)


def mask_urls(text: str) -> str:
    """Any text with the secrets of all addresses in it hidden: passwords, and parameters whose name tells of a secret,
    however the name is written (`%74oken`). Text without addresses is unchanged.
    """
    if "://" not in text:
        return text
    return _mask_parameters(_CREDENTIALS.sub(rf"\g<head>{MASK}\g<at>", text))


def _mask_parameters(text: str) -> str:
    """Heads are looked for inside values, too: the value of a harmless parameter may be an address."""
    parts, done = [], 0
    for head in _PARAMETER.finditer(text):
        if head.start() < done or not _is_secret_parameter(unquote(head["name"])):
            continue
        value = _VALUE.match(text, head.end())
        if value and value[0]:
            parts += [text[done : head.end()], MASK]
            done = value.end()
    return "".join([*parts, text[done:]])


def _is_secret_parameter(name: str) -> bool:
    return is_secret_name(name) or _SECRET_IN_QUERIES.search(name) is not None


def masked(value: Any) -> Any:
    """Plain data with the passwords of all addresses in its texts hidden, and every value whose name tells of a secret,
    be it in a mapping or in a pair. Other names stay; so do null, true and false, and what is empty.
    """
    if isinstance(value, str):
        return mask_urls(value)
    if isinstance(value, Mapping):
        return {masked(key): _hidden(one) if is_secret_name(str(key)) else masked(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        if len(value) == 2 and isinstance(value[0], str) and is_secret_name(value[0]):
            return [value[0], _hidden(value[1])]
        return [masked(one) for one in value]
    return value


def _hidden(value: Any) -> Any:
    return value if isinstance(value, bool) or not value else MASK
