"""Random lives of two readers of one stream: the real store and its double agree at every step, and the books balance.

What is checked after every step is more than agreement: nothing has left the stream before both readers finished it,
nothing that both finished is still there, and each message is in exactly one place for each reader.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dataflow.audit import Finding, check_stream
from dataflow.errors import DataflowError, StreamFull
from dataflow.store.door import Outgoing
from dataflow.store.keys import StreamKeys
from dataflow.store.lane import Frozen, content, digest, id_order
from dataflow.store.outcomes import LANES, Dead, Drop, Entry, Finished, LaneName, Out, Outcome, Park
from dataflow.store.redis import Client, call, connect
from tests.dataflow.store.stores import IN, LAST, OUT, SIDE, TARGETS, MemoryStore, RealStore, Store, mid, mids

pytestmark = pytest.mark.integration

GROUPS = st.sampled_from(["one", "two"])
CONSUMERS = st.sampled_from(["c1", "c2"])
LANE_NAMES = st.sampled_from(["main", "main", "retry"])
FEW = st.integers(1, 5)
KINDS = st.lists(
    st.sampled_from(["out", "two", "many", "none", "drop", "dead", "dead", "park", "park", "later", "not now"]),
    min_size=1,
    max_size=6,
)
STEPS = {
    "append": (4, (FEW,)),
    "work": (6, (GROUPS, CONSUMERS, FEW, KINDS, st.booleans())),
    "read": (2, (GROUPS, CONSUMERS, FEW, st.booleans())),
    "finish": (3, (GROUPS, CONSUMERS, LANE_NAMES, KINDS, st.booleans())),
    "recover": (1, (GROUPS, CONSUMERS)),
    "take_over": (1, (GROUPS, CONSUMERS, FEW)),
    "take_from_the_bench": (1, (GROUPS, CONSUMERS)),
    "inherit": (1, (GROUPS,)),
    "hand_back": (1, (GROUPS, CONSUMERS)),
    "begin": (1, (GROUPS, CONSUMERS)),
    "renew": (1, (GROUPS,)),
    "wake": (3, (GROUPS,)),
    "replay": (3, (GROUPS,)),
    "drain_the_outputs": (1, ()),
}
"""What can happen: how often compared with the rest, and with which arguments."""
STEP = st.one_of(
    [st.tuples(st.just(name), *arguments) for name, (weight, arguments) in STEPS.items() for _ in range(weight)]
)

PAST_MS, FAR_MS = 1, 32_503_680_000_000

Pair = tuple[Entry, Entry]
"""An entry of the real store and the same of the double."""


class Readers:
    """Two readers of one stream with two consumers each, and the edges that drain what they write."""

    def __init__(self, client: Client) -> None:
        call(client, "FLUSHALL")
        self.stores: tuple[Store, Store] = (RealStore(client), MemoryStore())
        self.held: dict[tuple[str, str], list[Pair]] = {}
        self.sent: list[str] = []
        self.left_main: dict[str, set[str]] = {"one": set(), "two": set()}
        self.done: dict[str, set[str]] = {"one": set(), "two": set()}
        self.seen: Counter[str] = Counter()
        for store in self.stores:
            store.apply()

    def append(self, count: int) -> None:
        names = [f"m{len(self.sent) + n}" for n in range(count)]
        batch = [Outgoing(IN, [b"_mid", name.encode(), b"_path", b"", b"n", b"1"]) for name in names]
        if self.both(lambda store: store.door().append(batch)) is not None:
            self.sent += names

    def read(self, group: str, consumer: str, count: int, apart: bool) -> None:
        pairs = self.entries(lambda store: store.hop(group).read(consumer, count, 0, apart=apart))
        self.held.setdefault((group, consumer), []).extend(pairs)

    def work(self, group: str, consumer: str, count: int, kinds: list[str], apart: bool) -> None:
        self.read(group, consumer, count, apart)
        for lane in LANES:
            self.finish(group, consumer, lane, kinds, together=False)

    def finish(self, group: str, consumer: str, lane: LaneName, kinds: list[str], together: bool) -> None:
        pairs = self.held.get((group, consumer), [])
        there = sorted((pair for pair in pairs if pair[0].lane == lane), key=lambda pair: id_order(pair[0].id))
        chosen = [(pair, kind) for pair, kind in zip(there, kinds, strict=False) if kind != "not now"]
        picked = [pair for pair, _ in chosen]
        outcomes = [(pair, self.outcome(group, pair[0], kind)) for pair, kind in chosen]
        answers = self.answers(
            lambda store, side: store.hop(group).finish(
                consumer, [(pair[side], outcome) for pair, outcome in outcomes], together=together
            )
        )
        lost = self.lost(answers, picked)
        if lost is None:  # a target was full: nothing of this piece was written
            self.seen["full"] += 1
            return
        self.seen["lost"] += len(lost)
        self.held[group, consumer] = [pair for pair in pairs if pair not in picked]
        for pair, outcome in outcomes:
            if pair[0].id not in lost:
                self.note(group, pair[0], outcome)

    def recover(self, group: str, consumer: str) -> None:
        self.held[group, consumer] = self.entries(lambda store: store.hop(group).recover(consumer))

    def take_over(self, group: str, consumer: str, count: int) -> None:
        real, double = (store.hop(group).take_over(consumer, 0, count) for store in self.stores)
        for ours, theirs in zip(real, double, strict=True):
            self.hold(group, consumer, self.paired(ours, theirs))

    def take_from_the_bench(self, group: str, consumer: str) -> None:
        real, double = (store.hop(group).take_over(consumer, 3_600_000, 100) for store in self.stores)
        assert real[1] == double[1] == []
        self.hold(group, consumer, self.paired(real[0], double[0]))

    def inherit(self, group: str) -> None:
        pairs = self.entries(lambda store: store.hop(group).inherit("c2", "c1"))
        self.held[group, "c1"] = []
        self.hold(group, "c2", pairs)

    def hand_back(self, group: str, consumer: str) -> None:
        begun = self.held.get((group, consumer), [])[:1]
        handed = [
            store.hop(group).hand_back(consumer, [pair[side] for pair in begun])
            for side, store in enumerate(self.stores)
        ]
        assert handed[0] == handed[1]
        self.held[group, consumer] = []

    def begin(self, group: str, consumer: str) -> None:
        for pair in self.held.get((group, consumer), [])[:2]:
            counts = [store.hop(group).begin(consumer, pair[side]) for side, store in enumerate(self.stores)]
            assert counts[0] == counts[1]

    def renew(self, group: str) -> None:
        self.both(lambda store: store.hop(group).renew(["c1", "c2"]))

    def wake(self, group: str) -> None:
        self.both(lambda store: store.hop(group).wake())

    def replay(self, group: str) -> None:
        self.both(lambda store: store.replay(IN, group))

    def drain_the_outputs(self) -> None:
        for edge, stream in (("archive", OUT), ("copy", SIDE)):
            self.both(lambda store, edge=edge: carry(store, edge))  # type: ignore[misc]
            assert mids(self.stores[0], stream) == []
        assert mids(self.stores[0], LAST) == mids(self.stores[1], LAST)

    def check(self) -> None:
        """Everything that is true after every step."""
        real, double = (Picture(store) for store in self.stores)
        assert real.shown() == double.shown()
        assert real.drifts() == []
        self.check_names()
        self.check_deletion(real)
        self.check_places(real)

    def check_deletion(self, real: Picture) -> None:
        """Nothing leaves the stream before both readers finished it, and everything does then."""
        both = self.left_main["one"] & self.left_main["two"]
        assert real.mids[IN] == [name for name in self.sent if name not in both]

    def check_names(self) -> None:
        """No name of a question outlives what it was answered; one that was answered nothing waits for its next use."""
        store = self.stores[0]
        assert isinstance(store, RealStore)
        for group in ("one", "two"):
            for at in (store.keys.stream(IN), store.keys.retry(IN, group)):
                rows = call(store.client, "XINFO", "CONSUMERS", at.stream, group)
                found = [dict(zip(row[::2], row[1::2], strict=True)) for row in rows]
                idle = Counter(info[b"name"].partition(b"#")[0] for info in found if info[b"pending"] == 0)
                assert max(idle.values(), default=0) <= 2  # it and the process' own

    def check_places(self, real: Picture) -> None:
        """Each message is in exactly one place for each reader."""
        for group in real.views[IN].groups:
            places = Counter(name for name in real.mids[IN] if name not in self.left_main[group.name])
            places.update(self.done[group.name])
            places.update(real.retrying[group.name])
            places.update(real.dead[group.name])
            assert not places or max(places.values()) == 1
            assert len(places) + group.parked == len(self.sent)

    def both(self, step: Callable[[Store], Any]) -> Any:
        """Take a step in both stores; the answers must be the same. None where both refused."""
        real, double = self.answers(lambda store, side: step(store))
        if isinstance(real, DataflowError):
            assert type(real) is type(double), (real, double)
            return None
        assert real == double
        return real

    def answers(self, step: Callable[[Store, int], Any]) -> list[Any]:
        found: list[Any] = []
        for side, store in enumerate(self.stores):
            try:
                found.append(step(store, side))
            except DataflowError as error:
                found.append(error)
        return found

    def entries(self, step: Callable[[Store], list[Entry]]) -> list[Pair]:
        real, double = (step(store) for store in self.stores)
        return self.paired(real, double)

    def paired(self, real: list[Entry], double: list[Entry]) -> list[Pair]:
        assert [shown(entry) for entry in real] == [shown(entry) for entry in double]
        return list(zip(real, double, strict=True))

    def hold(self, group: str, consumer: str, pairs: list[Pair]) -> None:
        known = self.held.setdefault((group, consumer), [])
        known += [pair for pair in pairs if pair not in known]

    def lost(self, answers: list[Finished | StreamFull], picked: list[Pair]) -> set[bytes] | None:
        real, double = answers
        if isinstance(real, StreamFull) or isinstance(double, StreamFull):
            assert str(real) == str(double)
            return None
        assert (real.done, len(real.lost)) == (double.done, len(double.lost))
        of_double = {theirs.id: ours.id for ours, theirs in picked}
        assert sorted(real.lost) == sorted(of_double[id_] for id_ in double.lost)
        return set(real.lost) if real.done else {ours.id for ours, _ in picked}

    def outcome(self, group: str, entry: Entry, kind: str) -> Outcome:
        name = mid(entry.fields)
        if kind == "drop":
            return Drop()
        if kind == "dead":
            return Dead("rejected", "no", 3)
        if kind in ("park", "later"):
            return Park(PAST_MS if kind == "park" else FAR_MS, 2)
        numbers = range({"none": 0, "out": 1, "two": 2, "many": 12}[kind])
        messages = [
            (n % len(TARGETS[group]), [b"_mid", f"{name}.{group}.{n}".encode(), b"_path", b"", b"n", b"1"])
            for n in numbers
        ]
        return Out(messages)

    def note(self, group: str, entry: Entry, outcome: Outcome) -> None:
        self.seen[f"{entry.lane} {type(outcome).__name__}"] += 1
        if entry.lane == "main":
            self.left_main[group].add(mid(entry.fields))
        if isinstance(outcome, Out | Drop):
            self.done[group].add(mid(entry.fields))


def shown(entry: Entry) -> tuple[str, list[bytes]]:
    """An entry without what the stores may differ in: ids and times."""
    names, values = entry.fields[::2], entry.fields[1::2]
    return entry.lane, [
        b"%b=%b" % pair for pair in zip(names, values, strict=True) if pair[0] not in (b"_origin", b"_since")
    ]


class Picture:
    """All that can be seen of a store."""

    def __init__(self, store: Store) -> None:
        self.views = {name: store.view(name) for name in (IN, OUT, SIDE, LAST)}
        self.mids = {name: mids(store, name) for name in self.views}
        groups = [group.name for group in self.views[IN].groups]
        self.retrying = {group: _mids_of(store, store.keys.retry(IN, group)) for group in groups}
        self.dead = {group: _mids_of(store, store.keys.dead(IN, group)) for group in groups}

    def shown(self) -> dict[str, Any]:
        """What two stores must agree in: all but ids and times."""
        numbers = (
            "undelivered", "pending", "retry_undelivered", "retry_pending", "parked", "waiting", "finished", "out",
        )  # fmt: skip
        return {
            "mids": self.mids,
            "counts": {name: +Counter(view.books.counts) for name, view in self.views.items()},
            "groups": [{number: getattr(group, number) for number in numbers} for group in self.views[IN].groups],
            "holders": self.views[IN].holders,
            "retrying": self.retrying,
            "dead": self.dead,
        }

    def drifts(self) -> list[Finding]:
        """What the audit finds."""
        return [finding for view in self.views.values() for finding in check_stream(view) if finding.state != "ok"]


def _mids_of(store: Store, at: StreamKeys) -> list[str]:
    return [mid(fields) for _, fields in store.fields(at)]


def carry(store: Store, edge: str) -> int:
    """Move everything that waits for an edge, one frozen batch at a time. Returns the batches."""
    lane, moved = store.lane(edge), 0
    while True:
        lease = lane.acquire("runner", 600_000, "line-" + edge)
        ids, rows = lane.read(lease.position, 3)
        if not ids:
            return moved
        draft = Frozen(lease.seq + 1, digest(content(ids, rows), "{}"), ids[0], ids[-1], len(ids), "{}", 0)
        frozen = lane.freeze(lease, 600_000, lease.position, draft)
        if edge == "copy":
            messages = store.target().pack((0, row) for row in rows)
            store.target().place(lease.lineage, lease.epoch, frozen.seq, frozen.digest, ids, messages)
        lane.settle(lease, 600_000, frozen, len(ids), [])
        moved += 1


def test_two_readers_of_one_stream(both_redis_url: str) -> None:
    client = connect(both_redis_url)
    seen: Counter[str] = Counter()

    @settings(max_examples=60, derandomize=True, deadline=None, suppress_health_check=list(HealthCheck))
    @given(st.lists(STEP, min_size=25, max_size=60))
    def live(steps: list[tuple[Any, ...]]) -> None:
        readers = Readers(client)
        for name, *arguments in steps:
            getattr(readers, name)(*arguments)
            readers.check()
        seen.update(readers.seen)

    live()
    client.close()
    assert set(seen) >= {"main Out", "main Dead", "main Park", "retry Out", "retry Dead", "retry Drop", "lost", "full"}
