"""An edge from one redis-server to another: each message once, whatever happens to the runner or to the target."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from dataflow.access import history
from dataflow.audit import audit, is_clean
from dataflow.cli import run as command
from dataflow.connections import resolve
from dataflow.errors import StreamFull
from dataflow.status import gather
from dataflow.store.alarms import alarms
from dataflow.store.redis import call
from dataflow.store.resume import PAUSED, resume
from dataflow.testing.servers import RedisServer
from dataflow.whereabouts import find
from sync.edges import source_of
from sync.run import GOOD
from sync.servers import Servers
from tests.sync.lab import STEPS, until
from tests.sync.proxy import Proxy
from tests.sync.two_servers import FLOW, ROUTED, TwoServers

pytestmark = pytest.mark.integration

ROOT = Path(__file__).parents[2]
AT_STEPS = [(end, method, "after") for end, method in STEPS] + [("sink", "write", "before")]
LEASE_S = 0.5


@pytest.fixture
def far() -> Iterator[RedisServer]:
    """The server of the target."""
    with RedisServer() as server:
        yield server


@pytest.fixture
def lab(redis_url: str, far: RedisServer) -> Iterator[TwoServers]:
    with closing(TwoServers(redis_url, far.url, patience_s=0.5)) as lab:
        yield lab


def test_each_server_has_its_own_streams_and_no_others(lab: TwoServers) -> None:
    near, there = lab.keys.stream("a.stream_in"), lab.keys.stream("b.stream_in")
    assert [call(server, "EXISTS", near.groups) for server in (lab.redis, lab.target)] == [1, 0]
    assert [call(server, "EXISTS", there.counts) for server in (lab.redis, lab.target)] == [0, 1]


def test_everything_arrives_once_and_in_order(lab: TwoServers) -> None:
    lab.fill(35)
    assert lab.run().state == "empty"
    lab.each_once()
    assert call(lab.redis, "EXISTS", lab.keys.stream("b.stream_in").stream) == 0


def test_a_pause_is_noted_at_the_home_of_the_flow(lab: TwoServers) -> None:
    """Which is the server of the target here; the source and its alarm are on the other one."""
    flow = replace(lab.flow, streams=dict(reversed(lab.flow.streams.items())))
    with closing(Servers(resolve(flow))) as servers:
        source_of(flow, lab.edge, servers, "main").hold("for a reason")
    (entry,) = history.read(lab.target, lab.keys, 10)
    assert (entry.what, entry.subject, entry.facts) == ("edge pause", "move", {"reason": "for a reason"})
    assert history.read(lab.redis, lab.keys, 10) == []
    assert len(alarms(lab.redis, lab.keys)) == 1


def test_a_route_over_several_streams_of_the_other_server(redis_url: str, far: RedisServer) -> None:
    with closing(TwoServers(redis_url, far.url, ROUTED)) as lab:
        lab.fill(12, colour="red")
        lab.fill(9, colour="green")
        lab.fill(4)
        assert lab.run().state == "empty"
        assert (len(lab.entries("red.stream_in")), len(lab.entries("blue.stream_in"))) == (12, 13)
        lab.each_once()


@contextmanager
def victim(
    lab: TwoServers, far: RedisServer, end: str, method: str, when: str, lease_s: float = 30
) -> Iterator[subprocess.Popen[str]]:
    """A runner in a process of its own that has come to a step."""
    arguments = [lab.redis_url, far.url, end, method, when, str(lease_s)]
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.sync.two_servers", *arguments],
        cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        assert process.stdout.readline().strip() == "there"
        yield process
    finally:
        process.kill()
        process.wait()
        process.stdin.close()
        process.stdout.close()


@pytest.mark.acceptance
class TestProcesses:
    @pytest.mark.parametrize(("end", "method", "when"), AT_STEPS)
    def test_one_that_was_killed_is_succeeded(
        self, lab: TwoServers, far: RedisServer, end: str, method: str, when: str
    ) -> None:
        lab.fill(25)
        with victim(lab, far, end, method, when) as process:
            process.kill()
            process.wait()
            assert lab.run().state == "empty"
        lab.each_once()

    @pytest.mark.parametrize(("end", "method", "when"), AT_STEPS)
    def test_one_that_was_stopped_past_its_lease_has_no_effect(
        self, redis_url: str, far: RedisServer, end: str, method: str, when: str
    ) -> None:
        with closing(TwoServers(redis_url, far.url, lease_s=LEASE_S)) as lab:
            lab.fill(25)
            with victim(lab, far, end, method, when, LEASE_S) as process:
                process.send_signal(signal.SIGSTOP)
                other = lab.runner()
                until(lambda: other.run().state == "empty")
                before = (lab.arrived(), lab.lane_state(), lab.counts())
                assert process.stdin is not None
                assert process.stdout is not None
                process.stdin.write("\n")
                process.stdin.flush()
                process.send_signal(signal.SIGCONT)
                assert process.stdout.readline().strip() in GOOD | {"fenced"}
                assert (lab.arrived(), lab.lane_state(), lab.counts()) == before
            lab.each_once()


class TestTarget:
    def test_one_that_stands_still(self, lab: TwoServers, far: RedisServer) -> None:
        """What it did while nobody heard its answer is not done again."""
        lab.fill(25)
        runner = lab.runner()
        assert runner.run(max_batches=1).state == "more"
        far.freeze()
        assert runner.run().state in ("unknown", "away")
        far.thaw()
        assert runner.run().state == "empty"
        lab.each_once()
        runner.leave()

    @pytest.mark.parametrize("script", ["handshake", "place"])
    def test_a_connection_that_is_cut_after_the_request(self, redis_url: str, far: RedisServer, script: str) -> None:
        with Proxy(far.url) as proxy, closing(TwoServers(redis_url, proxy.url)) as lab:
            lab.fill(25)
            proxy.swallow(script)
            assert lab.run().state == "unknown"
            assert proxy.swallowed == 1
            assert lab.run().state == "empty"
            lab.each_once()

    def test_one_that_is_killed_and_comes_back(self, lab: TwoServers, far: RedisServer) -> None:
        lab.fill(15)
        assert lab.run(max_batches=1).state == "more"
        far.kill()
        assert lab.run().state == "away"
        assert lab.waiting() == 5
        far.start()
        assert lab.run().state == "empty"
        lab.each_once()

    @pytest.mark.parametrize("batches", [None, 1])
    @pytest.mark.parametrize("living", [True, False], ids=["runner lives", "new runner"])
    def test_one_that_lost_what_it_had_acknowledged_gets_it_again(
        self, lab: TwoServers, far: RedisServer, living: bool, batches: int | None
    ) -> None:
        """Its append-only file is cut after the first batch; the source has settled all of them."""
        runner = lab.runner()
        lab.fill(10)
        assert runner.run().state == "empty"
        kept = _aof(far).stat().st_size
        lab.fill(20)
        runner.run(batches)
        lab.books_balance()
        self.cut(far, kept)
        lab.fill(5)
        if not living:
            runner.leave()
            runner = lab.runner()
        until(lambda: runner.run().state == "empty")
        lab.each_once()
        assert alarms(lab.redis, lab.keys) == []
        runner.leave()
        assert lab.confirm() == 0
        assert lab.entries("a.stream_in", lab.redis) == []
        lab.books_balance()

    def test_what_was_refused_is_not_buried_twice(self, lab: TwoServers, far: RedisServer) -> None:
        lab.fill(3)
        assert lab.run().state == "empty"
        kept = _aof(far).stat().st_size
        lab.fill(2, n="many")
        lab.fill(25)
        assert lab.run().dead == 2
        self.cut(far, kept)
        lab.fill(1, n="much")
        run = lab.run()
        assert (run.state, run.dead, run.written) == ("empty", 1, 25)
        assert lab.arrived() == [f"m{n}" for n in [*range(3), *range(5, 30)]]
        assert [letter["_mid"] for letter in lab.dead()] == ["m3", "m4", "m30"]
        lab.books_balance()
        assert lab.confirm() == 0
        lab.books_balance()
        assert "buried" not in lab.lane_state()

    def test_what_it_has_had_for_seconds_is_deleted_at_the_source(self, lab: TwoServers) -> None:
        lab.fill(25)
        runner = lab.runner()
        assert runner.run().state == "empty"
        assert len(lab.entries("a.stream_in", lab.redis)) == 25
        until(lambda: runner.run().state == "empty" and not lab.entries("a.stream_in", lab.redis))
        lab.each_once()
        held = lab.source().waiting(1)
        assert (held.count, held.confirm_ms) == (0, None)

    def test_what_is_kept_takes_no_room(self, lab: TwoServers) -> None:
        call(lab.redis, "HSET", lab.keys.stream("a.stream_in").counts, "max_len", 20)
        for _ in range(3):
            lab.fill(20)
            lab.run()
        with pytest.raises(StreamFull):
            lab.fill(21)
        lab.filled = 60
        lab.each_once()

    def test_one_that_lost_what_was_confirmed_pauses_the_edge(self, lab: TwoServers, far: RedisServer) -> None:
        lab.fill(10)
        assert lab.run().state == "empty"
        kept = _aof(far).stat().st_size
        lab.fill(20)
        assert lab.run().state == "empty"
        assert lab.confirm() == 0
        self.cut(far, kept)
        lab.fill(5)
        run = lab.run()
        assert run.state == "paused"
        assert "the target does not have the batch before it" in run.error
        (alarm,) = alarms(lab.redis, lab.keys)
        assert (alarm.kind, alarm.subject) == (PAUSED, "move")
        assert lab.waiting() == 5
        assert len(lab.arrived()) == 10
        done = resume(lab.flow, lab.edge, lab.redis, lab.target, accept_loss=True)
        assert done.lost_batches == 2
        assert lab.run().state == "empty"
        assert lab.arrived() == [f"m{n}" for n in [*range(10), *range(30, 35)]]
        found = audit(lab.flow, {"near": lab.redis, "far": lab.target}, {})
        drifts = {(one.check, one.subject, one.drift) for one in found if one.state == "drift"}
        assert drifts == {("writer", "move", 20)}, "what is gone is not forgotten"

    @staticmethod
    def cut(server: RedisServer, size: int) -> None:
        """The machine loses power: what was appended last never reached the disk."""
        server.kill()
        with _aof(server).open("r+b") as file:
            file.truncate(size)
        server.start()

    def test_a_full_stream(self, lab: TwoServers) -> None:
        lab.fill(1005)
        run = lab.run()
        assert (run.state, lab.waiting()) == ("full", 5)
        lab.books_balance()
        first = lab.arrived()
        lab.empty_target()
        call(lab.target, "HINCRBY", lab.keys.stream("b.stream_in").counts, "removed", len(first))
        assert lab.run().state == "empty"
        assert first + lab.arrived() == [f"m{n}" for n in range(1005)]
        lab.books_balance()

    def test_a_server_without_memory(self, lab: TwoServers) -> None:
        lab.fill(25)
        assert lab.run(max_batches=1).state == "more"
        call(lab.target, "CONFIG", "SET", "maxmemory", "1")
        run = lab.run()
        assert (run.state, lab.waiting()) == ("full", 15)
        call(lab.target, "CONFIG", "SET", "maxmemory", "0")
        assert lab.run().state == "empty"
        lab.each_once()


class TestLooking:
    def test_status_shows_both_servers(self, lab: TwoServers) -> None:
        lab.fill(15)
        lab.run(max_batches=1)
        seen = gather(lab.flow, {"near": lab.redis, "far": lab.target})
        assert {name: applied.current for name, applied in seen.applied.items()} == {"near": True, "far": True}
        assert {stream.name: (stream.connection, stream.depth) for stream in seen.streams} == {
            "a.stream_in": ("near", 5), "b.stream_in": ("far", 10),
        }  # fmt: skip
        (edge,) = seen.edges
        assert (edge.settled, edge.lag) == (10, 5)

    def test_a_message_is_found_on_either(self, lab: TwoServers) -> None:
        lab.fill(15)
        lab.run(max_batches=1)
        clients = {"near": lab.redis, "far": lab.target}
        assert [place.where for place in find(lab.flow, clients, {}, "m3").places] == ["b.stream_in"]
        assert [place.where for place in find(lab.flow, clients, {}, "m12").places] == ["a.stream_in"]

    def test_the_commands(
        self, redis_url: str, far: RedisServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        flow = tmp_path / "flow.yml"
        flow.write_text(FLOW % (redis_url, far.url))
        assert command(["apply", str(flow)]) == 0
        said = capsys.readouterr().out
        assert "applied to near as revision 1: 1 streams, 1 readers" in said
        assert "applied to far as revision 1: 1 streams, 0 readers" in said
        with closing(TwoServers(redis_url, far.url)) as lab:
            lab.fill(25)
            assert command(["run", str(flow), "move"]) == 0
            assert command(["audit", str(flow)]) == 0
            assert command(["status", str(flow)]) == 0
            lab.each_once()

    def test_a_tampered_target_is_found(self, lab: TwoServers) -> None:
        lab.fill(25)
        lab.run()
        (first, *_), *_ = call(lab.target, "XRANGE", lab.keys.stream("b.stream_in").stream, "-", "+")
        call(lab.target, "XDEL", lab.keys.stream("b.stream_in").stream, first)
        assert not is_clean(audit(lab.flow, {"near": lab.redis, "far": lab.target}, {}))


def _aof(server: RedisServer) -> Path:
    """The file that the server appends its writes to."""
    files = [*server.folder.rglob("*.incr.aof")] or [*server.folder.rglob("appendonly.aof")]
    return files[0]
