"""What was found: about what, how bad, and what to do."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

Level = Literal["ok", "note", "wrong"]


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing about a deployment.

    subject: what it is about, such as `redis main`. level: ok; note (works, could be better); wrong (messages can be
    lost, or nothing works). code: a stable name. text: what is the case. remedy: what to change, "" if nothing.
    """

    subject: str
    level: Level
    code: str
    text: str
    remedy: str = ""


def is_well(found: Iterable[Finding]) -> bool:
    """Whether nothing is wrong."""
    return all(finding.level != "wrong" for finding in found)
