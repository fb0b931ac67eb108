"""The documents, on the MongoDB-wire server."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import pytest

from dataflow.errors import ServerAway, UserError
from dataflow.testing.mongo import MongoServer
from scheduler import tasks as documents
from scheduler.documents import TaskTable
from scheduler.tasks import Tasks, TasksRefused
from tests.scheduler.rig import Rig

pytestmark = pytest.mark.integration

FIELDS = {
    "pid", "machine", "task_id", "description", "job_name", "set_to_status", "running_status", "interval_para",
    "start_dt", "end_dt", "task_kwargs", "is_enable", "create_time", "update_time",
}  # fmt: skip


def test_a_document_has_these_fields_and_no_other(rig: Rig) -> None:
    assert set(TaskTable._fields) == FIELDS
    rig.tasks.insert({"task_id": "t", "set_to_status": "running", "job_name": "s2s"}, "2026-01-01 00:00:00")
    assert set(rig.document()) <= (FIELDS - {"pid"}) | {"_id"}
    (one,) = TaskTable.objects(machine=rig.machine)
    assert (one.pid, one.is_enable, one.create_time) == (f"{rig.machine}.t", 1, "2026-01-01 00:00:00")


def test_a_task_is_inserted_once(rig: Rig) -> None:
    assert rig.tasks.insert({"task_id": "t"}, "now")
    assert not rig.tasks.insert({"task_id": "t", "description": "another"}, "later")
    assert rig.document()["description"] == ""


def test_a_document_that_is_gone_stays_gone(rig: Rig) -> None:
    rig.tasks.set(f"{rig.machine}.t", running_status="running")
    assert rig.tasks.find("t") is None


def test_machines_do_not_see_each_other(rig: Rig) -> None:
    rig.insert()
    assert Tasks("someone else").read() == [] and len(rig.tasks.read()) == 1


def test_a_tick_fires_once_also_without_a_document(rig: Rig) -> None:
    claims = [rig.tasks.claim("p." + rig.machine, tick, {"due": tick}) for tick in (5, 5, 4, 6, 6)]
    assert claims == [True, False, False, True, False]
    assert (rig.tasks.record("p." + rig.machine) or {})["due"] == 6


def test_of_many_threads_one_claims_a_tick(rig: Rig) -> None:
    won: list[int] = []

    def claim() -> None:
        won.extend(tick for tick in range(1, 30) if rig.tasks.claim(rig.machine, tick, {}))

    threads = [threading.Thread(target=claim) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(won) == sorted(set(won)), "no tick fires twice"


def test_writing_never_touches_the_last_tick(rig: Rig) -> None:
    rig.tasks.claim(rig.machine, 7, {})
    rig.tasks.write(rig.machine, {"runs": 3})
    assert (rig.tasks.record(rig.machine) or {})["last_tick"] == 7


def test_a_request_for_a_run_is_answered_once(rig: Rig) -> None:
    rig.tasks.ask("p", 5)
    rig.tasks.ask("p", 6)
    rig.tasks.answered("p", 5)
    assert rig.tasks.asked() == {"p": 6}, "a newer request stands"
    rig.tasks.answered("p", 6)
    assert rig.tasks.asked() == {}


def test_a_name_for_a_job_can_be_given_anew(rig: Rig) -> None:
    rig.tasks.register("nightly", "a:b")
    rig.tasks.register("nightly", "a:c")
    assert rig.tasks.types() == {"nightly": "a:c"}


def test_a_server_that_is_away_is_told_in_time(own_mongo: MongoServer) -> None:
    documents.connect(own_mongo.url)
    tasks = Tasks("m")
    assert tasks.read() == []
    own_mongo.kill()
    begun = time.monotonic()
    with pytest.raises(ServerAway, match="cannot be reached"):
        tasks.read()
    assert time.monotonic() - begun < 5
    own_mongo.start()
    assert tasks.read() == []


def test_an_address_that_cannot_be_used_is_told_without_its_password() -> None:
    with pytest.raises(UserError) as refused:
        documents.connect("mongodb://user:hunter2@host:port/")
    assert "hunter2" not in str(refused.value)


def test_what_is_not_written_is_not_said_to_be(own_mongo: MongoServer) -> None:
    """On a full disk; and when there is room again it is written."""
    documents.connect(own_mongo.url)
    tasks = Tasks("m")
    tasks.write("m.t", {"due": 1, "asked": 7})
    steps: list[Callable[[], object]] = [
        lambda: tasks.write("m.t", {"done": 1}),
        lambda: tasks.write("m.new", {"done": 1}),
        lambda: tasks.claim("m.t", 5, {"due": 5}),
        lambda: tasks.rebase("m.t", 0, 3),
        lambda: tasks.answered("m.t", 7),
    ]
    own_mongo.fill_disk()
    for step in steps:
        with pytest.raises(TasksRefused):
            step()
    own_mongo.free_disk()
    for step in steps:
        step()
    record = tasks.record("m.t") or {}
    assert {name: record[name] for name in ("last_tick", "due", "done", "asked")} == {
        "last_tick": 5, "due": 5, "done": 1, "asked": 0,
    }  # fmt: skip
    assert tasks.record("m.new") is not None
