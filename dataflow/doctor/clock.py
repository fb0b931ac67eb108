"""Whether the clocks of this machine and of a server agree."""

from __future__ import annotations

from typing import Final

from dataflow.doctor.finding import Finding

SKEW_S: Final = 2.0
"""Ticks of tasks go by this machine's clock, leases and entry ids by the server's."""


def judge_clock(subject: str, skew_s: float) -> Finding:
    """Args: skew_s: the server's clock minus ours, as exact as half the round trip. Pure."""
    if abs(skew_s) <= SKEW_S:
        return Finding(subject, "ok", "clock", f"its clock is within {max(0.1, abs(skew_s)):.1f} s of this machine's")
    way = "ahead of" if skew_s > 0 else "behind"
    text = f"its clock is {abs(skew_s):.1f} s {way} this machine's: schedules and times in the data are off by that"
    return Finding(
        subject, "wrong", "clock", text, "let both machines follow a time server (chrony, systemd-timesyncd)"
    )
