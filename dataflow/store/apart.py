"""Answers to questions that are kept apart in a consumer group, each under a name of its own. Pure.

Whether entries are still pending for whom they were given to is the fence of `finish`, and Redis tells it only of each
one. But how many are pending under a name it just knows. Under one of these names nothing is ever given but the answer
to a single question; from then on entries can only leave it. So if as many are pending under it as were answered, they
are those, and none is missing. That holds on whatever server it is asked, and however late other questions get there;
it does not if somebody else claims entries for such a name.
"""

from __future__ import annotations

import re
import secrets
from collections import deque
from collections.abc import Sequence

from dataflow.store.outcomes import Entry

MARK = "#"
"""Between a consumer and the number of its question; the scripts know it too (`consumer_of` of lib.lua)."""
_NUMBER = re.compile(MARK + r"[0-9]+\Z")
REMEMBERED = 4
"""Answers. A worker has up to three in hand; the entries of one that is forgotten are looked at one by one."""


class Apart:
    """The names of a process' questions, and what was given under them. Not for several threads."""

    def __init__(self) -> None:
        self._last = secrets.randbits(48)  # nobody else numbers from there, not even one who goes by the same name
        self._unused: list[str] = []
        self._answers: deque[tuple[str, list[bytes]]] = deque(maxlen=REMEMBERED)

    def name(self, consumer: str) -> str:
        """A name for one question of this consumer: nothing was ever given under it."""
        for name in self._unused:
            if consumer_of(name) == consumer:
                self._unused.remove(name)
                return name
        self._last += 1
        return f"{consumer}{MARK}{self._last}"

    def answered(self, name: str, entries: Sequence[Entry]) -> None:
        """This is what Redis has answered to the question of that name, all of it."""
        if entries:
            self._answers.append((name, [entry.id for entry in entries]))
        else:
            self._unused.append(name)

    def name_of(self, consumer: str, entries: Sequence[Entry]) -> str:
        """The name under which a consumer was given these, all of them and nothing else; "" for none. It tells once."""
        ids = [entry.id for entry in entries]
        for answer in self._answers:
            if answer[1] == ids and consumer_of(answer[0]) == consumer:
                self._answers.remove(answer)
                return answer[0]
        return ""


def consumer_of(name: str) -> str:
    """Whose name this is."""
    return _NUMBER.sub("", name)
