"""What a worker process holds, and where it gets more: predecessors, others that are gone, the stream."""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

from dataflow.errors import OutcomeUnknown
from dataflow.flow.spec import Worker
from dataflow.holder import is_dead
from dataflow.message import ATTEMPT
from dataflow.store.hop import Hop
from dataflow.store.outcomes import Entry
from workers.appetite import Appetite

T = TypeVar("T")
log = logging.getLogger("dataflow.worker")

BLOCK_MS = 500
"""How long a read waits for messages; also the longest that a stop signal waits for it."""
TAKE_OVER_EVERY_S = 1.0
LOOK_BACK_EVERY_S = 0.25
"""How long a process asks ahead, which is for what is new alone, before it looks again for what comes back."""


@dataclass(frozen=True, slots=True)
class Batch:
    """Entries in hand. `alone`: a single entry during which a process may have died, or that has failed before."""

    entries: Sequence[Entry] = ()
    alone: bool = False


class Intake:
    """The hand of one process, and how it is filled. Entries that may be somebody's death come first, one by one.

    Args:
        consumer: the name this process is known by in the consumer group; new, so nothing is pending for it.
        predecessors: consumers known to be dead, whose entries are ours.
    """

    def __init__(self, hop: Hop, worker: Worker, consumer: str, predecessors: Iterable[str] = ()) -> None:
        self._hop, self._worker, self._consumer = hop, worker, consumer
        self._predecessors = list(predecessors)
        self._fresh: deque[Entry] = deque()
        self._alone: deque[Entry] = deque()
        self._unsure: deque[Entry] | None = None  # where that belongs which a lost reply has made pending for us
        self._lost_answers = False
        self._take_over_at = 0.0
        self._ahead: Callable[[], list[Entry]] | None = None
        self._asked = 0
        self._full = False
        self._look_back_at = 0.0
        self.appetite = Appetite(worker.batch, worker.threads, fixed=worker.batch_handler != "no")

    @property
    def empty(self) -> bool:
        """Whether there is nothing in hand."""
        return not self._alone and not self._fresh

    @property
    def reads_ahead(self) -> bool:
        """Whether more has been asked for, and an answer is on its way, which `fetch` will take."""
        return self._ahead is not None

    def next(self) -> Batch:
        """The next batch from the hand: one suspect, or up to `batch` entries of one lane. Empty if there is none."""
        if self._alone:
            return Batch([self._alone.popleft()], alone=True)
        return Batch(self._from_fresh())

    def put_back(self, entries: Sequence[Entry]) -> None:
        """These were not begun: they come first again."""
        self._fresh.extendleft(reversed(entries))

    def suspect(self, entries: Iterable[Entry]) -> None:
        """Something is wrong with one of these: run each alone."""
        self._alone.extend(entries)

    def fetch(self) -> None:
        """Fill the empty hand; it may stay empty. Blocks up to BLOCK_MS.

        When it raises (see Hop), call it again: a reply that was lost on its way has left entries pending for us,
        and the next call asks for them.
        """
        if self._ahead is not None:
            self._take_ahead(self._ahead)
        elif self._unsure is not None or not self._hop.is_certain(self._consumer):
            self._recover(self._fresh if self._unsure is None else self._unsure)
        elif self._predecessors:
            self._inherit()
        elif time.monotonic() >= self._take_over_at:
            self._take_over()
        else:
            self._hop.wait_for_memory()
            self._asked = self.appetite.count
            self._take(self._ask(self._fresh, lambda: self._hop.read(self._consumer, self._asked, BLOCK_MS)))
            self._look_back_at = time.monotonic() + LOOK_BACK_EVERY_S

    def read_ahead(self) -> None:
        """Ask the stream for more if more waits there: the answer comes while what is in hand is handled.

        Only where `fetch` would ask it next, and a batch does not take so long that others could have it sooner. What
        comes back is not asked for: `fetch` does, every LOOK_BACK_EVERY_S, and on until it finds none. Raises as
        `fetch` does.
        """
        if not self._full or not self.appetite.quick or self._unsure is not None or self._predecessors:
            return
        if self._alone:  # what is one's death should find nothing else in hand
            return
        hop, certain = self._hop, self._hop.is_certain(self._consumer)
        in_time = time.monotonic() < min(self._take_over_at, self._look_back_at)
        if in_time and certain and hop.has_memory() and not hop.crowded():
            self._asked = self.appetite.count
            question = partial(hop.begin_read, self._consumer, self._asked, apart=True)
            self._ahead = self._ask(self._fresh, question)

    def _take_ahead(self, ahead: Callable[[], list[Entry]]) -> None:
        self._ahead = None
        self._take(self._ask(self._fresh, ahead))

    def _take(self, entries: Sequence[Entry]) -> None:
        self._full = len(entries) >= self._asked and all(entry.lane == "main" for entry in entries)
        self._fresh.extend(entries)

    def _recover(self, pile: deque[Entry]) -> None:
        pending = self._hop.recover(self._consumer)
        self._alone.clear()
        self._fresh.clear()
        pile.extend(pending)
        self._unsure = None

    def _inherit(self) -> None:
        while self._predecessors:
            dead = self._predecessors[-1]
            self._suspect_all(self._ask(self._alone, lambda dead=dead: self._hop.inherit(self._consumer, dead)))  # type: ignore[misc]
            self._predecessors.pop()

    def _take_over(self) -> None:
        """What was handed back, and what nobody has renewed for a lease; next, what others who died here have left.

        But first what came to us late: the server may get a question long after its answer was given up.
        """
        if self._lost_answers:
            self._recover(self._fresh)
            if not self.empty:
                return
        self._predecessors = [owner for owner in self._hop.owners() if is_dead(owner)]
        lease_s, count = self._worker.lease_s, self.appetite.count
        clean, suspect = self._ask(self._alone, lambda: self._hop.take_over(self._consumer, int(lease_s * 1000), count))
        if len(clean) + len(suspect) < count:  # else there may be more
            self._take_over_at = time.monotonic() + min(TAKE_OVER_EVERY_S, lease_s / 2)
        self._fresh.extend(clean)
        self._suspect_all(suspect)

    def _suspect_all(self, entries: Sequence[Entry]) -> None:
        """Somebody who is gone held these."""
        self._alone.extend(entries)
        if entries:
            facts = {"worker": self._worker.name, "entries": len(entries)}
            log.warning("took over entries of a process that is gone; they run one by one", extra=facts)

    def _ask(self, pile: deque[Entry], question: Callable[[], T]) -> T:
        self._unsure = pile
        try:
            answer = question()
        except OutcomeUnknown:
            self._lost_answers = True
            raise
        self._unsure = None
        return answer

    def _from_fresh(self) -> list[Entry]:
        entries: list[Entry] = []
        fresh = self._fresh
        while fresh and len(entries) < self._worker.batch:
            if entries and fresh[0].lane != entries[0].lane:
                break
            entry = fresh.popleft()
            if entry.lane == "retry" and has_failed(entry):
                self._alone.append(entry)
            else:
                entries.append(entry)
        return entries


def has_failed(entry: Entry) -> bool:
    """Whether an entry of the retry lane has failed attempts behind it."""
    names = entry.fields[::2]
    return ATTEMPT in names and entry.fields[2 * names.index(ATTEMPT) + 1] != b"0"
