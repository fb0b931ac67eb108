"""Hides the secrets of addresses, and what stands under a name that tells of one: what is shown or logged goes through
here.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

MASK = "***"

# scheme://user:password@ or scheme://:password@ ; a careless password may hold "@", none may hold "/".
_CREDENTIALS = re.compile(r"(?P<head>\b[a-zA-Z][a-zA-Z0-9+.-]*://[^\s/@:]*:)[^\s/]+(?P<at>@)")
_SECRET_PARAMETER = re.compile(r"(?P<head>[?&;]\w*(?:password|passwd|pwd|secret|token|key)=)[^\s&;]+", re.IGNORECASE)


_SECRET_NAME = re.compile(
    r"pwd|passw|secret|token|(api|private|access)[_-]?key|credential|authori[sz]ation|cookie", re.IGNORECASE
)


def is_secret_name(name: str) -> bool:
    """Whether a field of this name is likely to hold a secret."""
    return _SECRET_NAME.search(name) is not None


def mask_url(url: str) -> str:
    """An address without its password: `redis://:hunter2@host/0` becomes `redis://:***@host/0`."""
    return mask_urls(url)


def mask_urls(text: str) -> str:
    """Any text with the passwords of all addresses in it hidden. Text without addresses is unchanged."""
    if "://" not in text:
        return text
    text = _CREDENTIALS.sub(rf"\g<head>{MASK}\g<at>", text)
    return _SECRET_PARAMETER.sub(rf"\g<head>{MASK}", text)


def masked(value: Any) -> Any:
    """Plain data with the passwords of all addresses in its texts hidden, and every value whose name tells of a secret,
    be it in a mapping or in a pair. Names stay; so do null, true and false, and what is empty.
    """
    if isinstance(value, str):
        return mask_urls(value)
    if isinstance(value, Mapping):
        return {key: _hidden(one) if is_secret_name(str(key)) else masked(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        if len(value) == 2 and isinstance(value[0], str) and is_secret_name(value[0]):
            return [value[0], _hidden(value[1])]
        return [masked(one) for one in value]
    return value


def _hidden(value: Any) -> Any:
    return value if isinstance(value, bool) or not value else MASK
