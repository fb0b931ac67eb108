"""What a scheduler cannot do just now, told once."""

from __future__ import annotations

import logging

log = logging.getLogger("dataflow.scheduler")


class Reach:
    """Whether the documents can be reached, and what has been said about it. May be used from any thread."""

    def __init__(self) -> None:
        self._said: dict[str, str] = {}
        self.trouble = ""
        """Why the documents cannot be reached; "" if they can."""

    def lost(self, why: str) -> None:
        """The documents cannot be reached: what is known goes on."""
        self.trouble = why
        self.say("documents", f"going on with the tasks that are known: {why}")

    def found(self) -> None:
        """The documents can be reached."""
        self.trouble = ""
        self.say("documents", "")

    def say(self, about: str, text: str) -> None:
        """Log what is new about something; "" if all is well."""
        if text and self._said.get(about) != text:
            log.warning("%s: %s", about, text)
        self._said[about] = text
