"""The handlers of the benchmark. Every contender does the same: five fields in, five out, one of them doubled."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any


def one(message: dict[str, Any]) -> dict[str, Any]:
    """One message."""
    return {
        "rec_id": message["rec_id"],
        "device": message["device"],
        "n": message["n"],
        "value": message["value"] * 2,
        "ok": message["ok"],
    }


def many(messages: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """A batch."""
    return [one(message) for message in messages]


def burn(message: dict[str, Any]) -> dict[str, Any]:
    """About a millisecond of computing."""
    sum(i * i for i in range(15_000))
    return one(message)


def tick(path: str) -> None:
    """A task: notes the time."""
    with Path(path).open("a", encoding="utf-8") as file:
        file.write(f"{time.time()}\n")
