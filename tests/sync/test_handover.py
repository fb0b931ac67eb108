"""Edges that get another name, lead elsewhere or are taken out while something of theirs is on the way."""

from __future__ import annotations

import random
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace

import pytest

from dataflow.audit import audit, is_clean
from dataflow.connections import resolve
from dataflow.errors import NotDeclared, StillOnItsWay, UserError
from dataflow.flow.load import loads
from dataflow.flow.spec import Flow
from dataflow.message import MID, Codec, meta
from dataflow.store import declare
from dataflow.store.alarms import alarms
from dataflow.store.declare import Applied, apply, apply_all
from dataflow.store.door import Door, Outgoing
from dataflow.store.keys import Keys
from dataflow.store.lane import Lane
from dataflow.store.redis import call
from dataflow.testing.servers import RedisServer
from sync.edges import run_edge
from sync.loops import Loops
from sync.run import Run
from sync.servers import Servers
from tests.sync.lab import NET, STEPS, Crash, Lab, field, tripped, until

pytestmark = pytest.mark.integration

RENAMED = NET.replace("move:", "carry:")
AT_STEPS = [(end, method, when) for end, method in STEPS for when in ("before", "after")]


@pytest.fixture
def lab(redis_url: str) -> Iterator[Lab]:
    with closing(Lab(redis_url)) as lab:
        yield lab


@pytest.fixture
def far() -> Iterator[RedisServer]:
    with RedisServer() as server:
        yield server


def renamed(lab: Lab, text: str = RENAMED) -> Lab:
    """Apply the flow with another name of the edge; the lab of that flow."""
    other = Lab(lab.redis_url, text)
    other.filled = lab.filled
    return other


def crash(lab: Lab, end: str, method: str, when: str) -> None:
    """Run the edge until its process dies at a step."""

    def die() -> None:
        raise Crash

    with pytest.raises(Crash):
        tripped(lab, end, method, when, die).run()


def each_once(lab: Lab) -> None:
    assert lab.arrived() == [f"m{n}" for n in range(lab.filled)]
    balanced(lab)


def balanced(lab: Lab) -> None:
    found = audit(lab.flow, {"main": lab.redis}, {})
    assert is_clean(found), [one for one in found if one.state == "drift"]


class TestAnotherName:
    @pytest.mark.parametrize(("end", "method", "when"), AT_STEPS)
    def test_at_any_step_of_a_batch_each_message_arrives_once(self, lab: Lab, end: str, method: str, when: str) -> None:
        lab.fill(25)
        crash(lab, end, method, when)
        with closing(renamed(lab)) as other:
            other.fill(10)
            assert other.run().state == "empty"
            each_once(other)

    @pytest.mark.parametrize(("end", "method"), STEPS)
    def test_who_still_works_under_the_former_name_is_shut_out(self, lab: Lab, end: str, method: str) -> None:
        lab.fill(25)
        labs: list[Lab] = []

        def rename() -> None:
            labs.append(renamed(lab))
            assert labs[0].run().state == "empty"

        def meanwhile() -> None:
            other = threading.Thread(target=rename)
            other.start()
            other.join()

        run = tripped(lab, end, method, "after", meanwhile).run()
        with closing(labs[0]) as other:
            assert run.state in ("fenced", "undeclared", "conflict", "empty")
            assert lab.run().state == "undeclared"
            each_once(other)

    def test_who_is_about_to_take_its_first_lease_is_shut_out(self, lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
        """It has just seen that its group is there; then it is not any more."""
        lab.fill(25)
        position = Lane._group_position

        def renamed_meanwhile(lane: Lane) -> bytes:
            found = position(lane)
            monkeypatch.undo()
            other = threading.Thread(target=apply, args=(loads(RENAMED), lab.redis))
            other.start()
            other.join()
            return found

        monkeypatch.setattr(Lane, "_group_position", renamed_meanwhile)
        assert lab.run().state == "undeclared"
        assert lab.arrived() == []
        assert call(lab.redis, "EXISTS", lab.keys.edge("move")) == 0

    def test_it_stands_where_the_former_stood_though_another_reader_holds_the_stream(self, lab: Lab) -> None:
        """A reader that is new gets what is still in the stream; one that is not has had it."""
        both = NET + "  slow: {kind: s2s, from: a.stream_in, to: c.stream_in, batch: 10}\n"
        both = both.replace("edges:", "  c.stream_in: {keep: {messages: 100}}\nedges:")
        apply(loads(both), lab.redis)
        lab.fill(25)
        assert lab.run().state == "empty"
        apply(loads(both.replace("move:", "carry:")), lab.redis)
        with closing(renamed(lab, RENAMED)) as other:
            other.fill(5)
            assert other.run().state == "empty"
            assert other.arrived() == [f"m{n}" for n in range(30)]

    def test_what_came_back_and_dead_letters_come_with_it(self, lab: Lab) -> None:
        lab.fill(3, n="no number")
        assert lab.run().dead == 3
        with closing(renamed(lab)) as other:
            assert [letter["_mid"] for letter in other.dead()] == ["m0", "m1", "m2"]
            assert lab.dead() == []
            balanced(other)

    def test_a_pause_and_its_alarm_come_with_it(self, lab: Lab) -> None:
        lab.fill(3)
        lab.source().hold("for a reason")
        with closing(renamed(lab)) as other:
            assert other.run().state == "paused"
            assert [(alarm.subject, alarm.text) for alarm in alarms(lab.redis, lab.keys)] == [("carry", "for a reason")]

    def test_there_and_back_again(self, lab: Lab) -> None:
        lab.fill(25)
        crash(lab, "sink", "write", "after")
        with closing(renamed(lab)) as other:
            other.fill(10)
            crash(other, "sink", "write", "after")
            with closing(renamed(other, NET)) as back:
                assert back.run().state == "empty"
                each_once(back)

    def test_a_name_with_dead_letters_of_its_own_is_refused(self, lab: Lab) -> None:
        lab.fill(1, n="no number")
        assert lab.run().dead == 1
        letters = lab.keys.dead("a.stream_in", "carry").stream
        call(lab.redis, "XADD", letters, "*", "_mid", "older")
        with pytest.raises(NotDeclared, match=r"'carry' is to go on where 'move' stood, but has messages of its own"):
            renamed(lab)
        assert len(lab.dead()) == 1
        balanced(lab)

    def test_two_that_are_alike_are_no_other_names_of_two(self, lab: Lab) -> None:
        """Which would be which?"""
        twice = RENAMED + "  again: {kind: s2s, from: a.stream_in, to: b.stream_in, batch: 10}\n"
        lab.fill(5)
        with pytest.raises(
            UserError, match="loses the readers move and gets carry, again: it cannot be told who takes"
        ):
            apply(loads(twice), lab.redis)
        assert lab.run().written == 5
        each_once(lab)

    def test_an_apply_that_dies_half_way_is_finished_by_the_next(
        self, lab: Lab, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        lab.fill(25)
        lab.run(max_batches=1)

        def die(*_: object, **__: object) -> None:
            raise Crash

        for text in (RENAMED, NET):
            with monkeypatch.context() as patch, pytest.raises(Crash):
                patch.setattr(declare, "declare", die)
                apply(loads(text), lab.redis)
        with closing(renamed(lab)) as other:
            assert other.run().written == 15
            each_once(other)

    def test_applied_twice_it_changes_nothing_more(self, lab: Lab) -> None:
        lab.fill(25)
        lab.run(max_batches=1)
        flow = loads(RENAMED)
        assert apply(flow, lab.redis).renamed == {"carry": "move"}
        assert apply(flow, lab.redis).renamed == {}


THREE = """
flow: water
connections:
  near: {redis: "%s"}
  far: {redis: "%s"}
  there: {redis: "%s"}
streams:
  a.stream_in: {on: near}
  b.stream_in: {on: far, keep: {messages: 100000}, max_len: 100000, schema: {n: int}}
  c.stream_in: {on: there, keep: {messages: 100000}, max_len: 100000, schema: {n: int}}
edges:
  move: {kind: s2s, from: a.stream_in, to: b.stream_in, batch: 10}
"""


class Net:
    """One source and two targets, each on a server of its own; the edge leads to one of them."""

    def __init__(self, near: str, far: str, there: str) -> None:
        self._text = THREE % (near, far, there)
        self._servers = Servers(resolve(loads(self._text)))
        self.clients = {name: self._servers.redis(name) for name in ("near", "far", "there")}
        self.flow = self.with_edge()
        self.filled = 0

    def close(self) -> None:
        self._servers.close()

    def with_edge(self, name: str = "move", to: str = "b.stream_in") -> Flow:
        return loads(self._text.replace("move:", f"{name}:").replace("to: b.stream_in", f"to: {to}"))

    def with_second_edge(self, second: str, to: str = "b.stream_in") -> Flow:
        line = f"  {second}: {{kind: s2s, from: b.stream_in, to: c.stream_in, batch: 10}}\n"
        return loads(self._text.replace("to: b.stream_in", f"to: {to}") + line)

    def without_edge(self) -> Flow:
        return replace(self.with_edge(), edges={})

    def apply(self, flow: Flow, wait_s: float = 0.0) -> Applied:
        """The home last. Returns what was done there, where the edge's source is."""
        done = apply_all(flow, {name: self.clients[name] for name in ("there", "far", "near")}, wait_s=wait_s)
        self.flow = flow
        return done["near"]

    def fill(self, count: int) -> None:
        rows = [meta(f"m{n}", "hub@1") + Codec(None).encode({"n": n}) for n in range(self.filled, self.filled + count)]
        Door(self.clients["near"], Keys("water")).append([Outgoing("a.stream_in", row) for row in rows])
        self.filled += count

    def run(self, flow: Flow | None = None, max_batches: int | None = None) -> Run:
        flow = flow or self.flow
        return run_edge(flow, next(iter(flow.edges)), self._servers, max_batches=max_batches)

    def keep_running(self, loops: Loops, flow: Flow) -> None:
        loops.keep(flow, self._servers)

    def arrived(self, connection: str) -> list[str]:
        stream = {"far": "b.stream_in", "there": "c.stream_in"}[connection]
        found = call(self.clients[connection], "XRANGE", Keys("water").stream(stream).stream, "-", "+")
        return [field(entry[1], MID) for entry in found]

    def each_once(self) -> None:
        arrived = self.arrived("far") + self.arrived("there")
        assert sorted(arrived) == sorted(f"m{n}" for n in range(self.filled))
        found = audit(self.flow, self.clients, {})
        assert is_clean(found), [one for one in found if one.state == "drift"]


@pytest.fixture
def net(redis_url: str, far: RedisServer) -> Iterator[Net]:
    with RedisServer() as there, closing(Net(redis_url, far.url, there.url)) as net:
        net.apply(net.flow)
        yield net


class TestLedElsewhere:
    def test_what_is_on_its_way_is_not_sent_elsewhere(self, net: Net) -> None:
        """Ten are at the former target, which has not confirmed them."""
        net.fill(25)
        assert net.run(max_batches=1).written == 10
        with pytest.raises(StillOnItsWay, match="'move' led to s2s far, and is to lead to s2s there; but 10 messages"):
            net.apply(net.with_edge(to="c.stream_in"))

    def test_refused_it_goes_on_where_it_led(self, net: Net) -> None:
        net.fill(25)
        net.run(max_batches=1)
        with pytest.raises(StillOnItsWay):
            net.apply(net.with_edge(to="c.stream_in"))
        assert net.run().state == "empty"
        assert len(net.arrived("far")) == 25
        net.each_once()

    def test_it_is_waited_for_while_somebody_works(self, net: Net) -> None:
        loops = Loops()
        net.keep_running(loops, net.flow)
        try:
            net.fill(200)
            until(lambda: len(net.arrived("far")) >= 10)
            net.apply(net.with_edge(to="c.stream_in"), wait_s=20.0)
            net.fill(50)
            net.keep_running(loops, net.flow)
            until(lambda: len(net.arrived("far") + net.arrived("there")) >= 250)
        finally:
            loops.stop()
        net.each_once()

    def test_who_has_not_followed_yet_sends_nothing(self, net: Net) -> None:
        former = net.flow
        net.apply(net.with_edge(to="c.stream_in"))
        net.fill(25)
        run = net.run(former)
        assert (run.state, run.written) == ("undeclared", 0)
        assert "leads to there in the flow that was applied last, and to far in this flow file" in run.error
        assert net.run().written == 25
        net.each_once()

    def test_there_and_back_again(self, net: Net) -> None:
        for to in ("c.stream_in", "b.stream_in", "c.stream_in"):
            net.fill(10)
            assert net.run().written == 10
            until(lambda: net.run().state == "empty" and self.confirmed(net))
            net.apply(net.with_edge(to=to))
        net.each_once()

    def confirmed(self, net: Net) -> bool:
        return call(net.clients["near"], "XLEN", Keys("water").stream("a.stream_in").stream) == 0

    def test_what_is_refused_on_one_server_is_not_done_on_another(self, net: Net) -> None:
        """The edge `on` reads on the target's server; its name is to change in the same apply."""
        net.fill(25)
        net.apply(net.with_second_edge("on"))
        net.run(max_batches=1)
        with pytest.raises(StillOnItsWay):
            net.apply(net.with_second_edge("off", to="c.stream_in"))
        groups = Keys("water").stream("b.stream_in").groups
        assert call(net.clients["far"], "HKEYS", groups) == [b"on"]


class TestTakenOut:
    def test_another_edge_does_not_take_what_is_on_its_way(self, net: Net) -> None:
        net.fill(25)
        net.run(max_batches=1)
        with pytest.raises(StillOnItsWay, match=r"'move' led to s2s far, and 'carry' \(s2s there\) is to take"):
            net.apply(net.with_edge("carry", "c.stream_in"))
        assert net.run().written == 15
        net.each_once()

    def test_what_is_on_its_way_waits_with_the_rest(self, net: Net) -> None:
        net.fill(25)
        net.run(max_batches=1)
        done = net.apply(net.without_edge())
        assert [(held.group, held.waiting) for held in done.held] == [("move", 25)]

    def test_put_back_it_goes_on(self, net: Net) -> None:
        net.fill(25)
        net.run(max_batches=1)
        net.apply(net.without_edge())
        net.apply(net.with_edge())
        assert net.run().written == 15
        net.each_once()

    def test_under_another_name_later_it_goes_on_too(self, net: Net) -> None:
        net.fill(25)
        net.run(max_batches=1)
        net.apply(net.without_edge())
        assert net.apply(net.with_edge("carry")).renamed == {"carry": "move"}
        assert net.run().written == 15
        net.each_once()


def test_a_flow_that_is_applied_anew_at_any_moment_loses_and_doubles_nothing(net: Net) -> None:
    """Two processes work on the edge, each follows in its own time; meanwhile it is renamed, led elsewhere, taken out
    and put back at random.
    """
    chance = random.Random(20261121)
    flows = [net.flow, net.flow]
    over = threading.Event()

    def process(number: int) -> None:
        loops = Loops()
        while not over.is_set():
            net.keep_running(loops, flows[number])
            over.wait(0.02)
        loops.stop()

    def fill() -> None:
        while not over.is_set():
            net.fill(chance.randint(1, 10))
            over.wait(0.02)

    threads = [threading.Thread(target=process, args=(n,)) for n in (0, 1)] + [threading.Thread(target=fill)]
    for thread in threads:
        thread.start()
    done: Counter[str] = Counter()
    last = "move", "b.stream_in"
    try:
        for _ in range(25):
            time.sleep(chance.random() / 4)
            name, to = (
                last  # one of the two stays as it is: an edge with both new is another reader, with messages of its own
            )
            if chance.random() < 0.5 or not net.flow.edges:
                name = chance.choice(("move", "carry", "bring"))
            else:
                to = chance.choice(("b.stream_in", "c.stream_in"))
            flow = net.with_edge(name, to) if chance.random() < 0.85 else net.without_edge()
            try:
                applied = net.apply(flow, wait_s=chance.choice((0.0, 0.3, 6.0)))
            except StillOnItsWay:
                done["refused"] += 1
                continue
            done["renamed"] += len(applied.renamed)
            done["applied"] += 1
            last = (name, to) if flow.edges else last
            for number in (0, 1):
                time.sleep(chance.random() / 10)
                flows[number] = flow
        net.apply(net.with_edge(*last))  # what is on its way has to be let arrive before anything else
    finally:
        over.set()
        for thread in threads:
            thread.join()
    run = net.run()
    assert run.state == "empty", run
    net.each_once()
    assert done["renamed"] >= 3, done
    assert done["applied"] >= 8, done
