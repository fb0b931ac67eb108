"""What is pending for one consumer, by what it was told. Pure: no I/O."""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence

_NEVER = -1


class Held:
    """The entries that a consumer was given and has not let go of.

    Only an answer to the consumer itself makes an entry pending for it, because its name is random and one process's;
    others can only take entries away. So what is pending is part of what it holds and of what answers on their way
    bring, and if it is as many as these can be at most, it is all of them: none was taken away.

    Args:
        connects: how many connections to the server were made so far. A new one may lead to a server that was
            restarted and has forgotten what it did last, so that what was let go of is pending again.
    """

    def __init__(self, connects: Callable[[], int]) -> None:
        self._places: defaultdict[str, dict[bytes, int]] = defaultdict(dict)  # by lane: id -> the how manieth it was
        self._numbers = itertools.count(1)
        self._connects = connects
        self._told_at: int | None = None  # how many there were when the first answer came
        self._on_its_way = 0

    @property
    def certain(self) -> bool:
        """Whether that holds. If not, everything that is pending has to be asked for; see `forget`."""
        return self._told_at in (None, self._connects())

    def asked(self, most: int) -> None:
        """A question for so many entries of each lane is on its way."""
        self._on_its_way += most

    def answered(self, most: int = 0) -> None:
        """That question is on its way no more. What came was `given`; if it is not known what did, `doubt` first."""
        self._on_its_way -= most
        if self._told_at is None:
            self._told_at = self._connects()

    def given(self, lane: str, ids: Iterable[bytes]) -> None:
        """These came."""
        self._places[lane].update(zip(ids, self._numbers, strict=False))

    def doubt(self) -> None:
        """An answer got lost, and perhaps made entries pending."""
        self._told_at = _NEVER

    def let_go(self, lane: str, ids: Iterable[bytes]) -> None:
        """These are finished, or another's."""
        places = self._places[lane]
        for id_ in ids:
            places.pop(id_, None)

    def forget(self) -> None:
        """Begin anew: what is told next is all that is pending."""
        self._places.clear()
        self._told_at = None

    def at_most(self, lane: str, ids: Sequence[bytes]) -> int:
        """How many entries are pending in a lane at most. 0: that cannot be told, or `ids` are not some of them, each
        once, in the order in which they were given."""
        held = self._places[lane]
        places = [held.get(id_, 0) for id_ in ids]
        if not self.certain or 0 in places or sorted(set(places)) != places:
            return 0
        return len(held) + self._on_its_way
