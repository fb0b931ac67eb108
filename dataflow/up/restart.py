"""When a child that has ended is started again. Pure: time comes in as an argument."""

from __future__ import annotations

import signal
from dataclasses import dataclass, replace


@dataclass(frozen=True, slots=True)
class Backoff:
    """Pauses before a restart: `first_s`, doubled each time up to `most_s`; afresh after a run of `steady_s`."""

    first_s: float = 0.2
    most_s: float = 30.0
    steady_s: float = 30.0


@dataclass(frozen=True, slots=True)
class Restarts:
    """How often a child was started again, and the pause before the latest time."""

    count: int = 0
    pause_s: float = 0.0

    def next(self, ran_s: float, backoff: Backoff) -> Restarts:
        """What follows after a run of `ran_s` seconds: one more restart, after `pause_s`."""
        if self.pause_s == 0.0 or ran_s >= backoff.steady_s:
            return replace(self, count=self.count + 1, pause_s=backoff.first_s)
        return replace(self, count=self.count + 1, pause_s=min(backoff.most_s, self.pause_s * 2))


def reason(returncode: int, last_words: str) -> str:
    """Why a child ended, for people: its exit code or signal, and what its log says about it."""
    how = f"by {_signal_name(-returncode)}" if returncode < 0 else f"with exit code {returncode}"
    return f"ended {how}" + (f": {last_words}" if last_words else "")


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
