"""Refusals in words. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection

from sync.sink import Refusal


def sentence(why: Refusal) -> str:
    """One refusal, as a dead letter shows it."""
    return f"{why.field} ({why.type}): {why.reason}" if why.type else f"{why.field}: {why.reason}"


def reasons(refused: Collection[Refusal]) -> str:
    """The most frequent reasons."""
    kinds = Counter((why.field, why.type) for why in refused).most_common(3)
    examples = {(why.field, why.type): sentence(why) for why in refused}
    return "; ".join(f"{count} x {examples[kind]}" for kind, count in kinds)
