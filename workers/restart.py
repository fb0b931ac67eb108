"""When a child that has ended is started again. Pure."""

from __future__ import annotations

import signal

from workers.pulse import Stage

FIRST_S = 0.1
LONGEST_S = {Stage.SETUP: 30.0, Stage.READY: 2.0}
"""A set-up that fails is not urgent; a child that died of a message must come back soon for the others."""


def pause_s(before_s: float, stage: Stage) -> float:
    """Seconds to wait before the next start.

    Args:
        before_s: the pause before the last start, 0 if there was none.
        stage: what the child had reached when it ended. One that had settled something is replaced at once: what
            it died of is counted and runs out of attempts, so this cannot go on for ever.
    """
    if stage is Stage.PROVEN or not before_s:
        return FIRST_S
    return min(LONGEST_S[stage], before_s * 2)


def reason(code: int) -> str:
    """Why a child ended, for people. `code` is its exit code, or minus the signal."""
    if code >= 0:
        return f"exit code {code}"
    try:
        return f"killed by {signal.Signals(-code).name}"
    except ValueError:
        return f"killed by signal {-code}"
