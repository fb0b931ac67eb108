"""The desks behind the entry: each knows one sort of request."""

from __future__ import annotations

from itertools import cycle
from typing import Any

from dataflow import Context, Reject

Message = dict[str, Any]


def billing(message: Message) -> Message:
    """Bills and refunds; neither makes sense without an amount."""
    if message["amount"] is None:
        raise Reject(f"a {message['topic']} without an amount")
    verb = "pay" if message["topic"] == "bill" else "get back"
    return _answer(message, "billing", f"you {verb} {message['amount']:.2f}")


class Repair:
    """Faults; the crews take turns."""

    def setup(self, context: Context, crews: int) -> None:
        """Know the crews."""
        self.crews = cycle(range(1, crews + 1))

    def handle(self, message: Message) -> Message:
        """Send a crew."""
        return _answer(message, "repair", f"crew {next(self.crews)} comes")


def other(message: Message) -> Message:
    """Whatever no other desk takes."""
    return _answer(message, "other", "a person reads it")


def _answer(message: Message, desk: str, text: str) -> Message:
    return {"rec_id": message["rec_id"], "topic": message["topic"], "desk": desk, "answer": text}
