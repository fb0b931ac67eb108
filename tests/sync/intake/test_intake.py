"""Edges from a collection into a stream, on a real Redis and a real MongoDB-wire server."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from bson import ObjectId

from dataflow.access import history
from dataflow.audit import audit
from dataflow.errors import OutcomeUnknown
from dataflow.flow.load import loads
from dataflow.mongo import Collections
from dataflow.rebase import rebase
from dataflow.status import gather
from dataflow.store.alarms import alarms
from dataflow.store.declare import apply
from dataflow.store.resume import PAUSED, resume
from dataflow.testing.mongo import MongoServer
from dataflow.testing.servers import RedisServer
from sync.intake.puller import Puller
from sync.run import GOOD
from tests.sync.intake.intake_lab import FLOW, IntakeLab
from tests.sync.lab import Tripwire, until

pytestmark = pytest.mark.integration

ROOT = Path(__file__).parents[3]
LEASE_S = 0.5
QUICKLY = "?serverSelectionTimeoutMS=300"
AT_STEPS = [
    (part, method, when)
    for part, method in (("_collection", "last"), ("_intake", "acquire"), ("_collection", "read"), ("_intake", "take"))
    for when in ("before", "after")
]


@pytest.fixture
def lab(both_redis_url: str, mongo: MongoServer) -> Iterator[IntakeLab]:
    lab = IntakeLab(both_redis_url, mongo.url)
    lab.collection.drop()
    yield lab
    lab.close()


def tripped(lab: IntakeLab, part: str, method: str, when: str, act: Any, nth: int = 1) -> Puller:
    """A runner that does something at one step."""
    puller = lab.puller()
    setattr(puller, part, Tripwire(getattr(puller, part), method, when, act, nth))
    return puller


def test_under_another_name_it_goes_on_where_it_stood(lab: IntakeLab) -> None:
    lab.fill(15)
    assert lab.run(max_batches=1).written == 10
    renamed = loads(FLOW.replace("take:", "fetch:"), environ={})
    assert apply(renamed, lab.redis).renamed == {"fetch": "take"}
    lab.flow, lab.edge = renamed, renamed.edges["fetch"]
    assert lab.run().written == 5
    lab.each_once()


def test_every_document_is_one_message_in_order(lab: IntakeLab) -> None:
    lab.fill(25, x=0.5)
    run = lab.run()
    assert (run.state, run.written, run.dead, run.batches) == ("empty", 25, 0, 3), run.error
    lab.each_once()
    first = lab.entries()[0]
    assert first["_mid"].startswith("take/d000000/")
    assert first["_path"].startswith("take@")
    assert (first["n"], first["x"]) == ("0", "0.5")


def test_a_second_run_finds_what_is_new(lab: IntakeLab) -> None:
    lab.fill(5)
    lab.run()
    assert lab.run().read == 0
    lab.fill(4)
    assert lab.run().written == 4
    lab.each_once()


def test_a_document_with_a_new_value_is_a_new_message(lab: IntakeLab) -> None:
    lab.fill(5)
    lab.run()
    lab.collection.update_one({"_id": "d000002"}, {"$set": {"seq": 100, "n": 200}})
    lab.collection.update_one({"_id": "d000003"}, {"$set": {"n": 300}})
    assert lab.run().written == 1
    assert lab.arrived() == [0, 1, 2, 3, 4, 200]
    of_it = [entry["_mid"] for entry in lab.entries() if entry["_mid"].startswith("take/d000002/")]
    assert len(set(of_it)) == 2
    lab.books_balance()


@pytest.mark.parametrize("ids", [lambda n: ObjectId(), lambda n: f"{n * 7919 % 1000:04}"], ids=["ids", "texts"])
def test_the_order_may_be_that_of_the_ids(both_redis_url: str, mongo: MongoServer, ids: Any) -> None:
    lab = IntakeLab(both_redis_url, mongo.url, by="_id", id_field="x_id", batch=7)
    lab.collection.drop()
    lab.collection.insert_many([{"_id": ids(n), "n": n} for n in range(40)])
    assert lab.run().written == 40
    assert sorted(lab.arrived()) == list(range(40))
    texts = [entry["x_id"] for entry in lab.entries()]
    assert texts == sorted(texts)
    assert lab.run().read == 0
    lab.books_balance()
    lab.close()


@pytest.mark.parametrize("values", [[0.5, 1, 1.5, 2, 10], ["", "a", "b c", "Ä"]], ids=["numbers", "texts"])
def test_equal_values_at_the_edge_of_a_batch_are_neither_lost_nor_repeated(
    both_redis_url: str, mongo: MongoServer, values: list[Any]
) -> None:
    lab = IntakeLab(both_redis_url, mongo.url, batch=3)
    lab.collection.drop()
    lab.collection.insert_many([{"seq": values[n * 7 % len(values)], "n": n} for n in range(50)])
    assert lab.run().written == 50
    assert sorted(lab.arrived()) == list(range(50))
    lab.close()


# -- documents that cannot be messages


def test_a_document_that_does_not_fit_is_a_dead_letter_and_the_others_arrive(lab: IntakeLab) -> None:
    lab.fill(6)
    lab.collection.update_one({"_id": "d000001"}, {"$set": {"n": "many"}})
    lab.collection.update_one({"_id": "d000004"}, {"$set": {"x": [1]}})
    run = lab.run()
    assert (run.state, run.written, run.dead) == ("empty", 4, 2)
    assert lab.arrived() == [0, 2, 3, 5]
    first, second = lab.dead()
    assert first["_dead_id"] == "d000001"
    assert '"many"' in first["document"]
    assert first["_dead_error"].startswith("n: ")
    assert "declare the field `json`" in second["_dead_error"]
    lab.books_balance()


def test_many_that_do_not_fit_pause_the_edge(both_redis_url: str, mongo: MongoServer) -> None:
    lab = IntakeLab(both_redis_url, mongo.url, batch=100)
    lab.collection.drop()
    lab.fill(30)
    lab.collection.update_many({"seq": {"$gt": 4}}, {"$set": {"n": None}})
    run = lab.run()
    assert run.state == "paused"
    assert "18 of 30" in run.error
    assert not lab.entries() and not lab.dead()
    (alarm,) = alarms(lab.redis, lab.keys)
    assert (alarm.kind, alarm.subject) == (PAUSED, "take")
    assert lab.run().state == "paused"
    (entry,) = history.read(lab.redis, lab.keys, 10)
    assert (entry.who, entry.what, entry.subject) == ("edge take", "edge pause", "take")
    assert entry.facts == {"reason": run.error}
    assert resume(lab.flow, lab.edge, lab.redis, lab.redis).was_paused
    assert lab.run().state == "paused", "the reason is still there"
    assert len(history.read(lab.redis, lab.keys, 10)) == 2, "it was resumed and has paused itself once more"
    resume(lab.flow, lab.edge, lab.redis, lab.redis, bury=True)
    assert not alarms(lab.redis, lab.keys)
    assert lab.run().dead == 18
    lab.books_balance()
    lab.collection.insert_many([{"_id": f"e{n:03}", "seq": 1000} for n in range(25)])
    assert lab.run().state == "paused", "burying ends when the end is reached"
    lab.close()


# -- collections without an order


@pytest.mark.parametrize(
    ("odd", "says"),
    [
        ({"seq": "7"}, "numbers and strings"),
        ({}, "nothing"),
        ({"seq": None}, "nothing"),
        ({"seq": [1]}, "type list"),
        ({"_id": ObjectId(), "seq": 3}, "`_id`"),
    ],
)
def test_values_of_several_kinds_pause_the_edge_and_say_so(lab: IntakeLab, odd: dict[str, Any], says: str) -> None:
    lab.fill(5)
    lab.collection.insert_one({"_id": "odd", "n": 1, **odd})
    run = lab.run()
    assert run.state == "paused"
    assert says in run.error
    assert not lab.entries()
    assert says in alarms(lab.redis, lab.keys)[0].text
    lab.collection.delete_one({"n": 1, "_id": odd.get("_id", "odd")})
    resume(lab.flow, lab.edge, lab.redis, lab.redis)
    assert lab.run().written == 5
    lab.each_once()


@pytest.mark.parametrize("changed", [{"_id": "a", "seq": "text"}, {"_id": ObjectId(), "seq": 50}])
def test_a_kind_that_changes_between_runs_is_noticed(lab: IntakeLab, changed: dict[str, Any]) -> None:
    lab.fill(3)
    lab.run()
    lab.collection.delete_many({})
    lab.collection.insert_one({"n": 1, **changed})
    assert lab.run().state == "paused"


@pytest.mark.parametrize(
    ("document", "says"),
    [
        ({"_id": "a", "seq": datetime(2026, 1, 1, tzinfo=UTC)}, "`seq` holds dates"),
        ({"_id": "a", "seq": ObjectId()}, "`seq` holds object ids"),
        ({"_id": 7, "seq": 1}, "`_id` holds numbers"),
    ],
)
def test_what_the_embedded_server_does_not_compare_rightly_is_refused(
    lab: IntakeLab, document: dict[str, Any], says: str
) -> None:
    lab.collection.insert_one({"n": 1, **document})
    run = lab.run()
    assert run.state == "refused"
    assert says in run.error
    assert "a MongoDB of your own" in run.error


def test_another_collection_under_the_same_name_is_refused(
    lab: IntakeLab, both_redis_url: str, mongo: MongoServer
) -> None:
    lab.fill(3)
    lab.run()
    other = IntakeLab(both_redis_url, mongo.url, table="other")
    run = other.run()
    assert run.state == "refused"
    assert "another name" in run.error
    other.close()


# -- what commits late


def test_a_lower_value_that_commits_late_is_read(both_redis_url: str, mongo: MongoServer) -> None:
    lab = IntakeLab(both_redis_url, mongo.url, settle_s=0.6)
    lab.collection.drop()
    lab.collection.insert_one({"_id": "b", "seq": 10, "n": 1})
    puller = lab.puller()
    assert puller.waiting(10).count == 0, "seen just now"
    lab.collection.insert_one({"_id": "a", "seq": 9, "n": 0})
    until(lambda: puller.waiting(10).count == 2)
    assert puller.run().written == 2
    assert lab.arrived() == [0, 1]
    puller.leave()
    lab.books_balance()
    lab.close()


def test_one_run_waits_until_what_is_there_has_settled(both_redis_url: str, mongo: MongoServer) -> None:
    lab = IntakeLab(both_redis_url, mongo.url, settle_s=0.5)
    lab.collection.drop()
    assert lab.run().seconds < 0.4, "nothing is there"
    lab.fill(5)
    run = lab.run()
    assert (run.state, run.written) == ("empty", 5)
    assert run.seconds >= 0.5
    lab.close()


def test_one_that_commits_later_than_promised_is_found_by_the_audit(lab: IntakeLab) -> None:
    lab.fill(9)
    lab.run()
    lab.collection.insert_one({"_id": "late", "seq": 2, "n": 100})
    assert lab.run().read == 0
    found = audit(lab.flow, {"main": lab.redis}, {}, {"store": Collections(lab.client)})
    (intake,) = [one for one in found if one.check == "intake"]
    assert (intake.state, intake.drift) == ("drift", 1)
    rebase(lab.flow, {"main": lab.redis}, {}, "me", {"store": Collections(lab.client)})
    lab.books_balance()
    lab.collection.delete_many({"seq": 1})
    found = audit(lab.flow, {"main": lab.redis}, {}, {"store": Collections(lab.client)})
    (intake,) = [one for one in found if one.check == "intake"]
    assert (intake.state, intake.drift) == ("note", -3)


# -- room


def test_a_full_stream_takes_nothing_until_there_is_room(both_redis_url: str, mongo: MongoServer) -> None:
    lab = IntakeLab(both_redis_url, mongo.url, text=FLOW.replace("max_len: 1000", "max_len: 25"))
    lab.collection.drop()
    lab.fill(35)
    run = lab.run()
    assert (run.state, run.written) == ("full", 20)
    assert lab.run().written == 0
    lab.empty_target()
    assert lab.run().state == "empty"
    assert lab.arrived() == list(range(20, 35))
    lab.books_balance()
    lab.close()


def test_a_redis_at_its_memory_limit_takes_nothing(own_redis: RedisServer, mongo: MongoServer) -> None:
    lab = IntakeLab(own_redis.url, mongo.url)
    lab.collection.drop()
    lab.fill(15)
    client = own_redis.client()
    client.config_set("maxmemory", 1)
    assert lab.run().state == "full"
    client.config_set("maxmemory", 0)
    client.close()
    assert lab.run().written == 15
    lab.each_once()
    lab.close()


# -- servers that go, processes that die


def test_a_mongodb_that_was_stopped_and_started(redis_url: str, own_mongo: MongoServer) -> None:
    lab = IntakeLab(redis_url, own_mongo.url + QUICKLY)
    lab.fill(25)
    puller = tripped(lab, "_collection", "read", "before", own_mongo.kill, nth=2)
    run = puller.run()
    assert (run.state, run.batches) in {("away", 1), ("unknown", 1)}
    assert puller.run().state in ("away", "unknown")
    own_mongo.start()
    until(lambda: puller.run().state == "empty")
    puller.leave()
    lab.each_once()
    lab.close()


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_redis_that_was_stopped_around_the_step(own_redis: RedisServer, mongo: MongoServer, when: str) -> None:
    lab = IntakeLab(own_redis.url, mongo.url)
    lab.collection.drop()
    lab.fill(25)
    puller = tripped(lab, "_intake", "take", when, own_redis.kill, nth=2)
    assert puller.run().state in ("away", "unknown")
    own_redis.start()
    until(lambda: puller.run().state == "empty")
    puller.leave()
    lab.each_once()
    lab.close()


def test_an_answer_that_was_lost_is_not_done_again(lab: IntakeLab) -> None:
    lab.fill(25)

    def lose() -> None:
        raise OutcomeUnknown("lost")

    puller = tripped(lab, "_intake", "take", "after", lose, nth=2)
    assert puller.run().state == "unknown"
    assert puller.run().written == 5
    puller.leave()
    lab.each_once()


def test_two_runners_at_once_take_each_document_once(redis_url: str, mongo: MongoServer) -> None:
    lab = IntakeLab(redis_url, mongo.url, lease_s=1.0)
    lab.collection.drop()
    lab.fill(200)
    pullers = [lab.puller() for _ in range(2)]

    def work(puller: Puller) -> None:
        until(lambda: puller.run(max_batches=3).state == "empty")
        puller.leave()

    threads = [threading.Thread(target=work, args=(puller,)) for puller in pullers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    lab.each_once()
    lab.close()


@contextmanager
def victim(urls: tuple[str, str], step: tuple[str, str, str], lease_s: float) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-m", "tests.sync.intake.victim", *urls, *step, str(lease_s)]
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
    lab: IntakeLab, both_redis_url: str, mongo: MongoServer, step: tuple[str, str, str]
) -> None:
    lab.fill(25)
    with victim((both_redis_url, mongo.url), step, 30) as process:
        process.kill()
        process.wait()
        assert lab.run().state == "empty"
    lab.each_once()


@pytest.mark.acceptance
@pytest.mark.parametrize("step", AT_STEPS)
def test_one_that_was_stopped_past_its_lease_has_no_effect(
    redis_url: str, mongo: MongoServer, step: tuple[str, str, str]
) -> None:
    lab = IntakeLab(redis_url, mongo.url, lease_s=LEASE_S)
    lab.collection.drop()
    lab.fill(25)
    with victim((redis_url, mongo.url), step, LEASE_S) as process:
        process.send_signal(signal.SIGSTOP)
        other = lab.puller()
        until(lambda: other.run().state == "empty")
        before = lab.entries()
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write("\n")
        process.stdin.flush()
        process.send_signal(signal.SIGCONT)
        assert process.stdout.readline().strip() in GOOD | {"fenced"}
        assert lab.entries() == before
    lab.each_once()
    lab.close()


# -- what commands see


def test_status_tells_where_it_stands(lab: IntakeLab) -> None:
    lab.fill(5)
    lab.run()
    (edge,) = gather(lab.flow, {"main": lab.redis}).edges
    assert (edge.source, edge.target, edge.mode) == ("store.orders", "a.stream_in", "position")
    assert (edge.settled, edge.written, edge.dead, edge.lag) == (5, 5, 0, None)
