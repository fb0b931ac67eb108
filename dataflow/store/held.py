"""What is pending for one consumer, by what it was told. Pure: no I/O."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from itertools import count

FRESH_S = 1.0
"""What was told longer ago is not relied on. A server can be made to take over other data within its process, as a
replica does; that takes longer, and whoever asks meanwhile is refused."""


class Held:
    """The entries that a consumer was given and has not let go of.

    Only an answer to the consumer itself makes an entry pending for it, because its name is random and one process's;
    others can only take entries away. So what is pending is part of what it holds and of what answers on their way
    bring, and if it is as many as these can be at most, it is all of them: none was taken away.

    That ends for good when an answer got lost: its question may still reach the server, however late. And it does not
    hold over a new connection, perhaps to a server that was restarted and has forgotten what it did last: what was let
    go of is pending there again.

    Args:
        connects: how many connections to the server were made so far.
        clock: seconds, ever growing.

    Attributes:
        lost_answers: an answer got lost once, so entries may become pending at any time.
    """

    def __init__(self, connects: Callable[[], int], clock: Callable[[], float] = time.monotonic) -> None:
        self._connects, self._clock = connects, clock
        self._places: defaultdict[str, dict[bytes, int]] = defaultdict(dict)  # by lane: id -> the how manieth it was
        self._last: dict[str, bytes] = {}  # by lane: the last one given; none if they were not in order
        self._numbers = count(1)
        self._given = 0
        self._on_its_way = 0
        self.lost_answers = False
        self._told_at: int | None = None  # connections made when the first answer came
        self._asked_at: int | None = None  # and when everything was asked for
        self._heard_s = 0.0

    @property
    def certain(self) -> bool:
        """Whether nothing can be pending but what was given. If not, everything that is has to be asked for."""
        return self._asked_at in (None, self._connects())

    @property
    def given_so_far(self) -> int:
        """The number of the last entry given."""
        return self._given

    def asked(self, most: int) -> None:
        """A question for so many entries of each lane is on its way."""
        self._on_its_way += most

    def answered(self, most: int = 0) -> None:
        """That question is on its way no more. What came was `given`; if it is not known what did, `doubt` first."""
        self._on_its_way -= most
        self._heard_s = self._clock()
        if self._told_at is None:
            self._told_at = self._connects()
        if self._asked_at is None:
            self._asked_at = self._told_at

    def given(self, lane: str, ids: Sequence[bytes]) -> None:
        """These came, in the order of the stream."""
        if not ids:
            return
        places, last = self._places[lane], self._last.get(lane)
        in_order = not places or (last is not None and _order(last) < _order(ids[0]))
        places.update(zip(ids, self._numbers, strict=False))
        self._given = places[ids[-1]]
        if in_order:
            self._last[lane] = ids[-1]
        else:
            self._last.pop(lane, None)

    def doubt(self) -> None:
        """An answer got lost, and perhaps made entries pending, or will."""
        self.lost_answers = True
        self._asked_at = _NEVER

    def let_go(self, lane: str, ids: Iterable[bytes], until: int) -> None:
        """These are finished, or another's. Not if they were given anew: after the entry of number `until`."""
        places = self._places[lane]
        for id_ in ids:
            if places.get(id_, until + 1) <= until:
                del places[id_]

    def forget(self) -> None:
        """Begin anew: what is told next, until `asked_for_all`, is all that is pending."""
        self._places.clear()
        self._told_at = None

    def asked_for_all(self) -> None:
        """All that is pending was told."""
        self._asked_at = self._connects()

    def at_most(self, lane: str, ids: Sequence[bytes]) -> int:
        """How many entries are pending in a lane at most. 0: that cannot be told, or `ids` are not some of them, each
        once, in the order of the stream."""
        fresh = self._clock() - self._heard_s < FRESH_S
        if self.lost_answers or not fresh or self._told_at != self._connects() or lane not in self._last:
            return 0
        held = self._places[lane]
        places = [held.get(id_, 0) for id_ in ids]
        if 0 in places or sorted(set(places)) != places:
            return 0
        return len(held) + self._on_its_way


def _order(id_: bytes) -> tuple[int, int]:
    ms, _, seq = id_.partition(b"-")
    return int(ms), int(seq)


_NEVER = -1
