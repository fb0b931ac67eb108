"""The key that our own commands and clients send: DATAFLOW_API_KEY, or what the file DATAFLOW_API_KEY_FILE holds."""

from __future__ import annotations

import os
from collections.abc import Mapping

from dataflow.access.key import read_token
from dataflow.errors import UserError
from dataflow.settings import Settings, read_settings


def own_key(environ: Mapping[str, str] = os.environ) -> str | None:
    """The key of the environment; None if there is none. Reads one small file at most.

    Raises UserError, which never shows what was found: it may be a secret of something else.
    """
    settings = read_settings(environ)
    found, where = _found(settings)
    if found and read_token(found) is None:
        raise UserError(f"{where} holds something that is not an API key (dfk_...)")
    return found or None


def key_headers(key: str | None) -> dict[str, str]:
    """The headers that a client sends with this key; without one none."""
    return {"Authorization": f"Bearer {key}"} if key else {}


def _found(settings: Settings) -> tuple[str, str]:
    if settings.api_key is not None:
        return settings.api_key.get_secret_value().strip(), "DATAFLOW_API_KEY"
    if settings.api_key_file is None:
        return "", ""
    where = f"DATAFLOW_API_KEY_FILE={settings.api_key_file}"
    try:
        return settings.api_key_file.read_text(encoding="utf-8").strip(), where
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{where} cannot be read: {error}") from None
