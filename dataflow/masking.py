"""Hides the secrets of addresses: whatever is shown or logged goes through here."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

MASK = "***"

# scheme://user:password@ or scheme://:password@ ; a careless password may hold "@", none may hold "/".
_CREDENTIALS = re.compile(r"(?P<head>\b[a-zA-Z][a-zA-Z0-9+.-]*://[^\s/@:]*:)[^\s/]+(?P<at>@)")
_SECRET_PARAMETER = re.compile(r"(?P<head>[?&;]\w*(?:password|passwd|pwd|secret|token|key)=)[^\s&;]+", re.IGNORECASE)


_SECRET_NAME = re.compile(r"pwd|passw|secret|token|api_?key|credential", re.IGNORECASE)


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
    """Plain data with the passwords of all addresses in its texts hidden; keys stay."""
    if isinstance(value, str):
        return mask_urls(value)
    if isinstance(value, Mapping):
        return {key: masked(one) for key, one in value.items()}
    return [masked(one) for one in value] if isinstance(value, list | tuple) else value
