"""What the service does: measures a text."""

from __future__ import annotations

import re
from typing import Any

from dataflow import Reject


def measure(message: dict[str, Any]) -> dict[str, Any]:
    """How many words, which is the longest, and how hard it is to read (LIX: above 50 is hard)."""
    words = re.findall(r"\w+", message["text"])
    if not words:
        raise Reject("a text without words")
    sentences = max(1, len(re.findall(r"[.!?:]+(?:\s|$)", message["text"])))
    long = sum(len(word) > 6 for word in words)
    return {
        "rec_id": message["rec_id"],
        "words": len(words),
        "longest": max(words, key=len),
        "readability": round(len(words) / sentences + 100 * long / len(words), 1),
    }
