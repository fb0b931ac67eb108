"""How big a message may be. The door, the workers and the edges all refuse what is bigger."""

from __future__ import annotations

from typing import Final

MAX_FIELDS: Final = 500
"""User fields of one message, nulls counted."""

MAX_NAME_BYTES: Final = 256
"""Bytes of one field name."""

MAX_VALUE_BYTES: Final = 1 << 20
"""Bytes of one value as written."""

MAX_MESSAGE_BYTES: Final = 1 << 20
"""Bytes of all names and values of one message as written."""
