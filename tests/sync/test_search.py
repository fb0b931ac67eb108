"""How much to send next while a bad row is looked for."""

from __future__ import annotations

import pytest

from sync.search import IN_VAIN, MOST_PIECES, Search


def sends(count: int, bad: set[int]) -> tuple[int, list[int]]:
    """Play a search over rows 0 ... count-1 as the runner does. Returns how often was sent, and what was buried."""
    search, position, sent, buried = Search(), 0, 0, []
    while position < count:
        end = min(count, position + search.most(count))
        search.begin(end - position)
        while True:
            sent += 1
            assert sent <= 20 * MOST_PIECES
            if not bad & set(range(position, end)):
                search.settle(end - position, 0)
                break
            middle = position + (end - position) // 2
            search.cut(end - max(middle, position + 1))
            if end - position == 1:
                buried.append(position)
                search.settle(0, 1)
                break
            end = middle
        position = end
    return sent, buried


@pytest.mark.parametrize("bad", [0, 1, 31_234, 49_998, 49_999])
def test_one_row_among_50000_is_found_soon(bad: int) -> None:
    sent, buried = sends(50_000, {bad})
    assert buried == [bad]
    assert sent <= 2 * 16 + 2


def test_all_bad_rows_are_found() -> None:
    assert sends(1000, {0, 1, 500, 501, 999})[1] == [0, 1, 500, 501, 999]


def test_nothing_taken_and_some_buried_is_hopeless() -> None:
    search = Search()
    for _ in range(IN_VAIN):
        assert not search.hopeless
        search.cut(1)
        search.settle(0, 1)
    assert search.hopeless


def test_too_many_pieces_are_hopeless_until_a_batch_is_taken_whole() -> None:
    search = Search()
    for _ in range(MOST_PIECES + 1):
        assert not search.hopeless
        search.cut(0)
    assert search.hopeless
    search.settle(1, 1)
    search.settle(10, 0)
    assert not search.hopeless
