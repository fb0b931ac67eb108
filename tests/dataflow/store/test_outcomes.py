"""A batch in which each entry became one message like the others reads as a list of pairs, and is packed as that."""

from __future__ import annotations

import msgpack
import pytest

from dataflow.store.outcomes import Entry, OneEach, Out
from dataflow.store.parcels import MAX_BYTES, MAX_ENTRIES, by_lane, parcel, pieces

NAMES = [b"_mid", b"n", b"text"]


def batch(n: int, text: bytes = b"abc", lane: str = "main", target: int = 1) -> OneEach:
    entries = [Entry(lane, b"1-%d" % i, [b"n", b"0"]) for i in range(n)]  # type: ignore[arg-type]
    columns = [[b"m%d" % i for i in range(n)], [b"%d" % i for i in range(n)], [text] * n]
    return OneEach(entries, target, NAMES, columns)


def test_it_reads_as_pairs() -> None:
    one = batch(3)
    pairs = [
        (Entry("main", b"1-%d" % i, [b"n", b"0"]), Out([(1, [b"_mid", b"m%d" % i, b"n", b"%d" % i, b"text", b"abc"])]))
        for i in range(3)
    ]
    assert (list(one), len(one), one[1], one[-1], one[1:]) == (pairs, 3, pairs[1], pairs[2], pairs[1:])
    assert pairs[2] in one


@pytest.mark.parametrize("n", [1, 2, 500])
@pytest.mark.parametrize("target", [0, 3])
def test_its_messages_are_packed_as_its_pairs_are(n: int, target: int) -> None:
    one = batch(n, target=target)
    packed, pairs = parcel(one), parcel(list(one))
    ids = [b"1-%d" % i for i in range(n)]
    assert (packed.messages, packed.width) == (pairs.messages, len(NAMES))
    assert msgpack.unpackb(packed.fates, raw=True) == ids
    assert msgpack.unpackb(pairs.fates, raw=True) == [part for id_ in ids for part in (id_, 1)]


@pytest.mark.parametrize(
    ("n", "size"), [(1, 1), (MAX_ENTRIES, 3), (MAX_ENTRIES + 1, 3), (8, MAX_BYTES // 8), (8, MAX_BYTES // 8 - 100)]
)
def test_it_is_cut_as_its_pairs_are(n: int, size: int) -> None:
    one = batch(n, b"x" * size)
    cut, pairs = list(pieces(one)), list(pieces(list(one)))
    assert [parcel(piece).messages for piece in cut] == [parcel(piece).messages for piece in pairs]


def test_a_batch_of_one_lane_stays_whole() -> None:
    one = batch(2, lane="retry")
    assert by_lane(one) == [("retry", one)]
    assert by_lane([]) == []
    both = [*batch(1), *one]
    assert by_lane(both) == [("main", both[:1]), ("retry", both[1:])]


def test_columns_that_are_not_bytes_are_refused() -> None:
    wrong = OneEach(batch(2).entries, 0, [b"n"], [[b"1", "2"]])  # type: ignore[list-item]
    with pytest.raises(TypeError, match="not bytes"):
        parcel(wrong)
