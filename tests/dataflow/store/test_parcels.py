"""What `finish` hands to one script at a time."""

from __future__ import annotations

import pytest

from dataflow.store.outcomes import Dead, Entry, Out, Outcome
from dataflow.store.parcels import MAX_BYTES
from dataflow.store.redis import Client, call
from dataflow.store.script import script
from tests.dataflow.store.stores import IN, OUT, RealStore, message, mid, mids

pytestmark = pytest.mark.integration

LARGE = 1 << 20
"""Bytes: more than seven of them are too many for one script."""


def runs(redis: Client) -> int:
    """How many scripts the server has run."""
    text: bytes = call(redis, "INFO", "commandstats")
    lines = [line for line in text.split() if line.startswith(b"cmdstat_evalsha:")]
    return sum(int(line.split(b"calls=")[1].split(b",")[0]) for line in lines)


def finish(store: RealStore, entries: list[Entry], outcomes: list[Outcome], how: str) -> int:
    """Finish them. Returns how many scripts that took."""
    hop, pairs = store.hop("one"), list(zip(entries, outcomes, strict=True))
    call(store.client, "SCRIPT", "LOAD", script("finish").text)
    begun = runs(store.client)
    done = hop.finish("c1", pairs) if how == "at once" else hop.begin_finish("c1", pairs)()
    assert (done.done, done.lost) == (len(entries), [])
    return runs(store.client) - begun


@pytest.mark.parametrize("how", ["at once", "begun"])
@pytest.mark.parametrize("part", ["value", "names"])
@pytest.mark.parametrize(("n", "size", "scripts"), [(16, 100, 1), (16, LARGE, 3), (1, MAX_BYTES + LARGE, 1)])
def test_no_script_writes_too_many_bytes(
    store: RealStore, how: str, part: str, n: int, size: int, scripts: int
) -> None:
    store.door().append([message(number) for number in range(n)])
    entries = store.hop("one").read("c1", n, 0)
    large = [b"text", b"x" * size] if part == "value" else [b"x" * size, b""]
    outcomes: list[Outcome] = [Out([(0, [*entry.fields, *large])]) for entry in entries]
    assert finish(store, entries, outcomes, how) == scripts
    assert mids(store, OUT) == [mid(entry.fields) for entry in entries]


def test_what_is_copied_by_the_server_counts_as_well(store: RealStore) -> None:
    door = store.door()
    for number in range(16):
        large = message(number)
        door.append([large._replace(fields=[*large.fields, b"text", b"x" * LARGE])])
    entries = store.hop("one").read("c1", 16, 0)
    assert finish(store, entries, [Dead("bad", "it is large", 1)] * 16, "at once") == 3
    assert call(store.client, "XLEN", store.keys.dead(IN, "one").stream) == 16
