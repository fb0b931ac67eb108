"""The line of a log that says why a process has ended."""

from __future__ import annotations

import pytest

from dataflow.up.last_words import last_words


@pytest.mark.parametrize(
    ("log", "words"),
    [
        ("", ""),
        ("starting\nbye\n\n", "bye"),
        ("dataflow: no such worker\n", "dataflow: no such worker"),
        (
            "2026-01-31 12:00:00.123 ERROR   dataflow.worker: no module water\n"
            "2026-01-31 12:00:00.123 INFO    dataflow.worker: worker stopped\n",
            "ERROR   dataflow.worker: no module water",
        ),
        (
            '{"level": "error", "event": "away"}\n{"level": "info", "event": "bye"}',
            '{"level": "error", "event": "away"}',
        ),
        ("Traceback (most recent call last):\n  File x\nKeyError: 'a'\nbye", "KeyError: 'a'"),
        ("[2026-01-31] [7] [ERROR] Worker failed to boot.\nbye", "[2026-01-31] [7] [ERROR] Worker failed to boot."),
        ("no ERROR here but text\nthe end", "the end"),
    ],
)
def test_an_error_says_more_than_what_follows_it(log: str, words: str) -> None:
    assert last_words(log.splitlines()) == words
