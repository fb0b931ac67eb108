"""Edges from a stream into a collection, on a real Redis and a real MongoDB-wire server."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from dataflow.store.deadletters import DeadLetters
from dataflow.store.resume import resume
from dataflow.testing.mongo import MongoServer
from dataflow.testing.servers import RedisServer
from sync.run import GOOD
from tests.sync.lab import STEPS, Crash, tripped, until
from tests.sync.sinks.mongo.mongo_lab import MongoLab

pytestmark = pytest.mark.integration

ROOT = Path(__file__).parents[4]
AT_STEPS = [(end, method, "after") for end, method in STEPS] + [("sink", "write", "before")]
LEASE_S = 0.5
QUICKLY = "?serverSelectionTimeoutMS=300"


@pytest.fixture
def lab(redis_url: str, mongo: MongoServer) -> Iterator[MongoLab]:
    lab = MongoLab(redis_url, mongo.url)
    lab.collection.drop()
    yield lab
    lab.close()


def test_every_message_is_one_document(lab: MongoLab) -> None:
    lab.fill(25, x=0.5)
    run = lab.run()
    assert (run.state, run.written, run.dead, run.batches) == ("empty", 25, 0, 3)
    lab.each_once()
    assert lab.collection.find_one({"_id": "m7"}) == {"_id": "m7", "n": 7, "x": 0.5}


def test_what_does_not_fit_is_a_dead_letter_with_field_and_reason(lab: MongoLab) -> None:
    lab.fill(5)
    lab.append_raw(b"n", b"9223372036854775808")
    lab.append_raw(b"n", b"1", b"$set", b"x")
    run = lab.run()
    assert (run.written, run.dead) == (5, 2)
    assert "n (int)" in lab.dead()[0]["_dead_error"]
    assert "$set" in lab.dead()[1]["_dead_error"]
    assert len(lab.arrived()) == 5


def test_what_the_server_refuses_is_a_dead_letter_and_the_others_land(lab: MongoLab) -> None:
    lab.collection.create_index("n", unique=True)
    lab.fill(6)
    lab.append_raw(b"n", b"3")
    lab.append_raw(b"n", b"100")
    run = lab.run()
    assert (run.state, run.read, run.dead) == ("empty", 8, 1)
    assert "UNIQUE" in lab.dead()[0]["_dead_error"]
    assert len(lab.arrived()) == 7
    lab.books_balance()


def test_a_crash_between_the_refusal_and_its_record_changes_nothing(lab: MongoLab) -> None:
    lab.collection.create_index("n", unique=True)
    lab.fill(6)
    lab.append_raw(b"n", b"3")

    def crash() -> None:
        raise Crash

    for nth, when in ((2, "before"), (2, "after")):  # the freeze that records what was refused
        with pytest.raises(Crash):
            tripped(lab, "source", "freeze", when, crash, nth if when == "before" else 1).run()
        lab.expire_lease()
    assert lab.run().dead == 1
    assert len(lab.dead()) == 1
    assert len(lab.arrived()) == 6
    lab.books_balance()


def test_many_refused_by_the_server_pause_the_edge(redis_url: str, mongo: MongoServer) -> None:
    lab = MongoLab(redis_url, mongo.url, batch=100)
    lab.collection.drop()
    lab.collection.create_index("x", unique=True)
    lab.fill(30, x=1.0)
    run = lab.run()
    assert run.state == "paused"
    assert "29 of 30" in run.error
    assert not lab.dead()
    resume(lab.flow, lab.edge, lab.redis, None, bury=True)
    assert lab.run().dead == 29
    lab.books_balance()
    lab.close()


def test_a_message_that_was_mended_comes_back(lab: MongoLab) -> None:
    lab.collection.create_index("n", unique=True)
    lab.fill(2)
    lab.append_raw(b"n", b"1")
    assert lab.run().dead == 1
    lab.collection.delete_one({"_id": "m1"})
    assert DeadLetters(lab.redis, lab.keys, lab.edge.source, lab.edge.name).replay_all() == 1
    assert lab.run(lane="retry").written == 1
    assert len(lab.arrived()) == 2


def test_a_mongodb_that_was_stopped_and_started(redis_url: str, own_mongo: MongoServer) -> None:
    lab = MongoLab(redis_url, own_mongo.url + QUICKLY)
    lab.fill(25)
    runner = tripped(lab, "sink", "write", "before", own_mongo.kill, nth=2)
    run = runner.run()
    assert (run.state, run.batches) in {("away", 1), ("unknown", 1)}
    assert runner.run().state in ("away", "unknown")
    own_mongo.start()
    until(lambda: runner.run().state == "empty")
    runner.leave()
    lab.each_once()
    lab.close()


def test_a_redis_that_was_stopped_after_the_write(own_redis: RedisServer, mongo: MongoServer) -> None:
    lab = MongoLab(own_redis.url, mongo.url)
    lab.collection.drop()
    lab.fill(25)
    runner = tripped(lab, "sink", "write", "after", own_redis.kill, nth=2)
    assert runner.run().state in ("away", "unknown")
    own_redis.start()
    until(lambda: runner.run().state == "empty")
    runner.leave()
    lab.each_once()
    lab.close()


@contextmanager
def victim(lab_urls: tuple[str, str], step: tuple[str, str, str], lease_s: float) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-m", "tests.sync.sinks.mongo.victim", *lab_urls, *step, str(lease_s)]
    process = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdin is not None
    assert process.stdout is not None
    with process.stdin, process.stdout:
        try:
            assert process.stdout.readline().strip() == "there"
            yield process
        finally:
            process.kill()
            process.wait()


@pytest.mark.acceptance
@pytest.mark.parametrize("step", AT_STEPS)
def test_one_that_was_killed_is_succeeded_at_once(
    lab: MongoLab, mongo: MongoServer, step: tuple[str, str, str]
) -> None:
    lab.fill(25)
    with victim((lab.redis_url, mongo.url), step, 30) as process:
        process.kill()
        process.wait()
        assert lab.run().state == "empty"
    lab.each_once()


@pytest.mark.acceptance
@pytest.mark.parametrize("step", AT_STEPS)
def test_one_that_was_stopped_past_its_lease_has_no_effect(
    redis_url: str, mongo: MongoServer, step: tuple[str, str, str]
) -> None:
    lab = MongoLab(redis_url, mongo.url, lease_s=LEASE_S)
    lab.collection.drop()
    lab.fill(25)
    with victim((redis_url, mongo.url), step, LEASE_S) as process:
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
    lab.close()
