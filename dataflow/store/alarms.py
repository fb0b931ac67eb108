"""Alarms: what an operator should look at. Shown by `dataflow status` and `/readyz` until it is over."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Final

import msgspec

from dataflow.store.keys import Keys
from dataflow.store.redis import Client, call
from dataflow.store.script import script

MAX_TEXT: Final = 2000
"""Characters of an alarm's text."""


@dataclass(frozen=True, slots=True)
class Alarm:
    """One thing to look at: its kind, what it is about, since when (ms since 1970), and a sentence."""

    kind: str
    subject: str
    at_ms: int
    text: str


def raise_alarm(redis: Client, keys: Keys, kind: str, subject: str, text: str) -> None:
    """Put an alarm up, or renew its text, of which MAX_TEXT characters are kept. Raises ServerAway, OutcomeUnknown."""
    value = msgspec.json.encode({"at_ms": int(time.time() * 1000), "text": text[:MAX_TEXT]})
    script("note").run(redis, [keys.alarms], [f"{kind}:{subject}", value])


def clear_alarm(redis: Client, keys: Keys, kind: str, subject: str) -> None:
    """Take an alarm down; nothing happens if it is not up."""
    call(redis, "HDEL", keys.alarms, f"{kind}:{subject}")


def alarms(redis: Client, keys: Keys) -> list[Alarm]:
    """All alarms that are up, oldest first."""
    flat = call(redis, "HGETALL", keys.alarms)
    found = []
    for name, value in zip(flat[::2], flat[1::2], strict=True):
        kind, _, subject = name.decode().partition(":")
        body = msgspec.json.decode(value)
        found.append(Alarm(kind, subject, body["at_ms"], body["text"]))
    return sorted(found, key=lambda alarm: alarm.at_ms)
