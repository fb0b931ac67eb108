"""Listing, showing and replaying dead letters."""

from __future__ import annotations

import time

import pytest

from dataflow.store.deadletters import MAX_REPLAY, DeadLetters, dead_letter
from dataflow.store.door import Outgoing
from dataflow.store.outcomes import Dead, Drop
from dataflow.store.redis import call
from tests.dataflow.store.stores import IN, RealStore, drifts, message


def die(store: RealStore, *numbers: int, reason: str = "rejected") -> DeadLetters:
    """Have reader `one` bury messages."""
    store.door().append([message(n) for n in numbers])
    hop = store.hop("one")
    entries = [entry for entry in hop.read("c", len(numbers), 0) if entry.lane == "main"]
    hop.finish("c", [(entry, Dead(reason, f"no {n}", 3)) for n, entry in zip(numbers, entries, strict=True)])
    return store.letters(IN, "one")


@pytest.mark.integration
def test_a_dead_letter_tells_all(store: RealStore) -> None:
    store.door().append(
        [Outgoing(IN, [b"_mid", b"m7", b"_path", b"hub@1", b"n", b"7", b"text", b"caf\xc3\xa9", b"_null", b'["x"]'])]
    )
    hop = store.hop("one")
    (entry,) = hop.read("c", 1, 0)
    hop.finish("c", [(entry, Dead("raised", "ValueError: no", 5))])
    (letter,) = store.letters(IN, "one")
    assert (letter.stream, letter.group, letter.reason, letter.error) == (IN, "one", "raised", "ValueError: no")
    assert (letter.attempts, letter.lane, letter.origin) == (5, "main", f"main/{entry.id.decode()}")
    assert (letter.mid, letter.path, letter.fields, letter.nulls) == (
        "m7", "hub@1", {"n": "7", "text": "café"}, ("x",),
    )  # fmt: skip
    assert letter.replayable and abs(letter.died_ms - time.time() * 1000) < 60_000


@pytest.mark.integration
def test_they_are_listed_page_by_page_the_oldest_first(store: RealStore) -> None:
    letters = die(store, *range(7))
    assert letters.count() == 7
    first = letters.page(count=3)
    second = letters.page(first[-1].id, count=3)
    assert [letter.mid for letter in first + second] == [f"m{n}" for n in range(6)]
    assert [letter.mid for letter in letters] == [f"m{n}" for n in range(7)]


@pytest.mark.integration
def test_one_is_found_by_its_id_and_nothing_by_another(store: RealStore) -> None:
    letters = die(store, 1, 2)
    found = letters.page()[1]
    assert letters.get(found.id) == found
    assert letters.get("1-1") is None
    assert letters.get("no id") is None


@pytest.mark.integration
def test_some_are_replayed_and_each_once(store: RealStore) -> None:
    letters = die(store, *range(5))
    ids = [letter.id for letter in letters][1:3]
    assert letters.replay([*ids, *ids, "1-1"]) == 2
    assert letters.replay(ids) == 0
    assert [letter.mid for letter in letters] == ["m0", "m3", "m4"]
    assert drifts(store) == []
    hop = store.hop("one")
    back = hop.read("c", 10, 0)
    assert [entry.lane for entry in back] == ["retry", "retry"]
    hop.finish("c", [(entry, Drop()) for entry in back])
    assert drifts(store) == []


@pytest.mark.integration
def test_all_are_replayed_in_pieces(store: RealStore) -> None:
    for _ in range(30):
        letters = die(store, *range(40))
        two = store.hop("two")
        two.finish("c", [(entry, Drop()) for entry in two.read("c", 100, 0)])
    assert letters.count() == 1200 > 2 * MAX_REPLAY
    assert (letters.replay_all(), letters.count(), letters.replay_all()) == (1200, 0, 0)
    assert store.view(IN).groups[0].retry_undelivered == 1200
    assert drifts(store) == []


@pytest.mark.integration
def test_what_dies_during_a_replay_of_all_stays(store: RealStore, monkeypatch: pytest.MonkeyPatch) -> None:
    letters = die(store, 1, 2)
    monkeypatch.setattr("dataflow.store.deadletters.MAX_REPLAY", 1)
    once = letters._replay

    def replay_while_another_dies(ids: list[str]) -> int:
        die(store, 9)
        return once(ids)

    monkeypatch.setattr(letters, "_replay", replay_while_another_dies)
    assert letters.replay_all() == 2
    assert [letter.mid for letter in letters] == ["m9", "m9"]


@pytest.mark.integration
def test_a_message_that_another_program_put_there_is_shown(store: RealStore) -> None:
    call(store.client, "XADD", store.keys.dead(IN, "one").stream, "*", "x", "\xff", "_null", "no json")
    (letter,) = store.letters(IN, "one")
    assert (letter.reason, letter.attempts, letter.mid, letter.nulls) == ("", 0, "", ())


def test_bytes_that_are_no_text_are_shown_as_escapes() -> None:
    fields = [b"_dead_reason", b"undecodable", b"_dead_attempts", b"1", b"_dead_lane", b"retry", b"_dead_id", b"5-0"]
    letter = dead_letter("s", "g", b"7-0", [*fields, b"a\xff", b"\xfe"])
    assert (letter.fields, letter.origin, letter.died_ms) == ({"a\\xff": "\\xfe"}, "retry/5-0", 7)
