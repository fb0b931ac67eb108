"""How full streams were, and when they will be full."""

from __future__ import annotations

import pytest

from dataflow.store.redis import call
from dataflow.store.trend import NOTE_EVERY_MS, NOTES, Note, Trend, full_in_s, note_depths, read_trends
from tests.dataflow.store.stores import FLOW, IN, OUT, RealStore, message


def trend(*notes: tuple[int, int]) -> Trend:
    """Notes (ms ago, depth), the newest first."""
    return Trend([Note(1_000_000 - ago_ms, {IN: depth}) for ago_ms, depth in notes], 1_000_000)


@pytest.mark.parametrize(
    ("known", "growth"),
    [
        (trend(), None),
        (trend((1_000, 0)), None),
        (trend((10_000, 50)), 5),
        (trend((10_000, 50), (20_000, 0)), 5),
        (trend((10_000, 200)), -10),
        (trend((10_000, 50), (600_000, 0)), 5),
        (trend((-5_000, 0)), None),
    ],
)
def test_growth_is_that_of_the_last_minute(known: Trend, growth: float | None) -> None:
    assert known.growth_per_s(IN, 100) == growth
    assert known.growth_per_s("other.stream_in", 100) is None


@pytest.mark.parametrize(
    ("depth", "max_len", "growth", "seconds"),
    [(50, 100, 5.0, 10), (50, 100, 0.0, None), (50, 100, -1.0, None), (50, 100, None, None), (100, 100, -1.0, 0),
     (50, None, 5.0, None)],
)  # fmt: skip
def test_when_a_stream_is_full(depth: int, max_len: int | None, growth: float | None, seconds: float | None) -> None:
    assert full_in_s(depth, max_len, growth) == seconds


@pytest.mark.integration
class TestNotes:
    def test_one_of_many_processes_notes(self, store: RealStore) -> None:
        store.door().append([message(n) for n in range(7)])
        assert [note_depths(FLOW, store.client, "main") for _ in range(3)] == [True, False, False]
        (note,) = read_trends(FLOW, {"main": store.client})["main"].notes
        assert (note.depths[IN], note.depths[OUT]) == (7, 0)

    def test_notes_are_bounded(self, store: RealStore) -> None:
        for _ in range(NOTES + 5):
            assert note_depths(FLOW, store.client, "main")
            self.age(store)
        assert call(store.client, "LLEN", store.keys.trend) == NOTES

    def test_a_clock_that_was_set_back_does_not_stop_them(self, store: RealStore) -> None:
        note_depths(FLOW, store.client, "main")
        self.age(store, -3_600_000)
        assert note_depths(FLOW, store.client, "main")

    def test_they_are_taken_at_the_memory_limit(self, store: RealStore) -> None:
        store.fill()
        try:
            assert note_depths(FLOW, store.client, "main")
        finally:
            store.relieve()

    def age(self, store: RealStore, by_ms: int = NOTE_EVERY_MS) -> None:
        """Let the newest note be older."""
        newest = read_trends(FLOW, {"main": store.client})["main"].notes[0]
        text = f'{{"at_ms": {newest.at_ms - by_ms}, "depths": {{}}}}'
        call(store.client, "LSET", store.keys.trend, 0, text)
