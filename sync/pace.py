"""When a continuous edge runs next. Pure: clock and chance are arguments."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from dataflow.store.lane import Waiting
from sync.run import GOOD, State

POLL_S: Final = 0.02, 0.5
"""How often an idle edge looks for messages: first, and in the end."""
RETRY_S: Final = 0.2, 30.0
"""How long an edge waits after something went wrong: first, and at most."""
FULL_S: Final = 0.05, 2.0
"""The same when the target has no room: its readers work on that."""
HELD_S: Final = 1.0
"""How long it waits while another runner has the edge, or it is paused."""
ALARM_AFTER: Final = 3
"""So many runs in a row must go wrong before an alarm is raised."""


def due_in_s(waiting: Waiting, min_batch: int, max_wait_s: float, waited_s: float = 0.0) -> float | None:
    """Seconds until a batch should be moved; 0 is now, None is when more has come.

    Few large batches are better than many small ones (a table gets a part for each): messages wait until there are
    `min_batch` of them or the first has waited for `max_wait_s`. An open batch waits for nothing. Where the target is
    to confirm what it has, it is asked in time.

    Args:
        waited_s: how long messages have waited as far as we know ourselves; see `Pace.waited_s`.
    """
    if waiting.open or waiting.fresh:
        return 0.0
    confirm_s = None if waiting.confirm_ms is None else waiting.confirm_ms / 1000
    if waiting.count == 0:
        return confirm_s
    if waiting.count >= min_batch:
        return 0.0
    left_s = max(0.0, max_wait_s - max(waiting.age_ms / 1000, waited_s))
    return left_s if confirm_s is None else min(left_s, confirm_s)


@dataclass(slots=True)
class Pace:
    """How fast one lane is looked after: slower the longer it is idle or failing."""

    idle: int = 0
    failures: int = 0
    since: float | None = None

    def waited_s(self, count: int, now: float) -> float:
        """For how long messages have been seen waiting since the last run, by our own clock.

        After the clock of a Redis was set back, entries have ids that lie in its future, and so no age, for as long.

        Args:
            count: how many wait now.
            now: monotonic seconds.
        """
        if not count:
            self.since = None
        elif self.since is None:
            self.since = now
        return 0.0 if self.since is None else now - self.since

    def after_look(self, due_s: float | None) -> float:
        """Seconds to wait when there was nothing to run."""
        self.idle += 1
        poll_s = _doubled(POLL_S, self.idle - 1)
        return poll_s if due_s is None else min(poll_s, due_s)

    def after_run(self, state: State, chance: float) -> float:
        """Seconds to wait after a run that ended like this.

        Args:
            chance: between 0 and 1, random: runners that failed together must not come back together.
        """
        self.since = None
        if state not in GOOD and state != "paused":
            self.failures += 1
            bounds = FULL_S if state == "full" else RETRY_S
            return _doubled(bounds, self.failures - 1) * (0.5 + chance / 2)
        self.failures = 0
        if state in ("held", "paused"):
            return HELD_S
        self.idle = 0
        return 0.0

    @property
    def alarming(self) -> bool:
        """Whether it is time for an alarm."""
        return self.failures >= ALARM_AFTER


def _doubled(bounds: tuple[float, float], times: int) -> float:
    first, most = bounds
    return min(most, first * 2.0 ** min(times, 30))
