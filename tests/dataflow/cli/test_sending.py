"""Cutting rows into requests, and what is told when one fails."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pytest

from dataflow.cli.rows import Row
from dataflow.cli.sending import BAD_SHOWN, CHUNK_BYTES, CHUNK_MESSAGES, Judged, check, chunks, post_all
from dataflow.errors import Fault, InvalidMessage, OutcomeUnknown, ServerAway, UserError


def good(count: int, size: int = 1) -> Iterator[Row]:
    return (Row(n + 2, {"n": "x" * size}) for n in range(count))


def judged(count: int) -> Iterator[Judged]:
    return ((row, []) for row in good(count))


def test_requests_are_cut_by_number() -> None:
    found = list(chunks(good(2 * CHUNK_MESSAGES + 1)))
    assert [len(chunk) for chunk in found] == [CHUNK_MESSAGES, CHUNK_MESSAGES, 1]
    assert [line for chunk in found for line, _ in chunk] == list(range(2, 2 * CHUNK_MESSAGES + 3))


def test_requests_are_cut_by_size() -> None:
    assert [len(chunk) for chunk in chunks(good(5, CHUNK_BYTES // 2))] == [2, 2, 1]


def test_nothing_is_no_request() -> None:
    assert list(chunks(good(0))) == []


def test_bad_rows_are_counted_and_the_first_are_kept() -> None:
    bad = ((Row(n, None), [f"fault {n}", "another"]) for n in range(30))
    found = check([*judged(3), *bad].__iter__())
    assert (found.good, found.bad_rows, len(found.bad), found.bad[0]) == (3, 30, BAD_SHOWN, (0, "fault 0"))


class Hub:
    """Remembers what was posted; fails at a request."""

    def __init__(self, fails_at: int = -1, error: Exception | None = None) -> None:
        self.posted: list[tuple[int, str]] = []
        self.known: set[str] = set()
        self._fails_at, self._error = fails_at, error

    def __call__(self, messages: Sequence[Mapping[str, Any]], key: str) -> bool:
        if len(self.posted) == self._fails_at and self._error:
            raise self._error
        self.posted.append((len(messages), key))
        before = key in self.known
        self.known.add(key)
        return before


def test_every_request_has_a_key_of_its_own_and_the_same_the_next_time() -> None:
    hub = Hub()
    first = post_all(judged(1200), 1200, "run", hub)
    again = post_all(judged(1200), 1200, "run", hub)
    assert (first.messages, first.requests, first.before) == (1200, 3, 0)
    assert (again.messages, again.requests, again.before) == (1200, 3, 1200)
    assert [key for _, key in hub.posted] == ["run-0", "run-1", "run-2"] * 2


@pytest.mark.parametrize("error", [ServerAway("away"), OutcomeUnknown("unknown")])
def test_what_was_stored_before_an_error_is_told(error: Exception, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(type(error)):
        post_all(judged(1200), 1200, "run", Hub(2, error))
    assert capsys.readouterr().err.startswith("1000 messages were stored before")


def test_a_refusal_is_told_by_lines(capsys: pytest.CaptureFixture[str]) -> None:
    error = InvalidMessage([Fault(3, "n", "wrong_type", "no number")])
    with pytest.raises(UserError, match="another one"):
        post_all(judged(600), 600, "run", Hub(1, error))
    assert capsys.readouterr().err == "line 505: n: no number\n"
