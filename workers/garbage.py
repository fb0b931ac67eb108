"""When Python looks for cycles of garbage in a worker process: as ever, but not because of the batch in hand."""

from __future__ import annotations

import gc

OBJECTS_OF_MESSAGE = 10
"""So many objects that Python's collector counts a message in hand is made of: parts of the reply, dicts, results."""


class Garbage:
    """Lets the collector begin after as many new objects as ever, those of the messages in hand not counted.

    Python begins when there are 700 (gc.get_threshold) more of them than there were. Five hundred messages in hand are
    thousands, none of them garbage, and set it off again and again: a tenth of all that a worker does. What users'
    functions leave behind is found as before. Who has switched the collector off, or sets another threshold while
    messages are handled, has it their way.
    """

    def __init__(self) -> None:
        self._usual, *_ = gc.get_threshold()
        self._set = self._usual

    def in_hand(self, messages: int) -> None:
        """So many messages are about to be handled."""
        wanted = self._usual + OBJECTS_OF_MESSAGE * messages
        if self._usual and wanted != self._set and gc.get_threshold()[0] == self._set:
            gc.set_threshold(wanted)
            self._set = wanted
