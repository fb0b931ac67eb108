"""Celery tries to reach its broker several times a second, and says so each time. Once a minute is often enough."""

from __future__ import annotations

import logging
from typing import Final

EVERY_S: Final = 60.0
MOST: Final = 100
"""Messages that are remembered."""


class Seldom(logging.Filter):
    """Lets a message of the same text through once in EVERY_S, by the times of the records."""

    def __init__(self) -> None:
        super().__init__()
        self._last: dict[str, float] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether this one is to be seen."""
        text = record.getMessage()
        if record.created - self._last.get(text, -EVERY_S) < EVERY_S:
            return False
        if len(self._last) >= MOST:
            self._last.clear()
        self._last[text] = record.created
        return True
