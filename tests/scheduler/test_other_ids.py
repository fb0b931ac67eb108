"""Documents whose `_id` is not `<machine>.<task_id>`, and several documents for one task."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
from bson import ObjectId
from flask.testing import FlaskClient

from dataflow.cli import run
from scheduler.task import Task, tasks_of
from tests.scheduler.rig import Rig, eventually

NIGHTLY = {"hour": 3}


def document(key: object, task_id: str = "t", **fields: Any) -> dict[str, Any]:
    return {"_id": key, "machine": "m", "task_id": task_id, **fields}


def test_a_task_is_known_by_machine_and_task_id_whatever_its_document_is_called() -> None:
    key = ObjectId()
    (task,) = tasks_of([document(key)]).values()
    assert (task.pid, task.key, task.task_id, task.remark) == ("m.t", key, "t", "")


def test_without_a_task_id_its_document_names_it() -> None:
    assert Task.of({"_id": "m.t", "machine": "m"}).task_id == "t"
    assert Task.of({"_id": "m.t", "machine": "m"}).pid == "m.t"


def test_of_several_that_counts_which_has_the_right_id() -> None:
    (task,) = tasks_of([document("a"), document("m.t"), document("b")]).values()
    assert (task.key, [one.key for one in task.rivals], task.ambiguous) == ("m.t", ["a", "b"], False)
    assert "'a', 'b'" in task.remark


def test_of_several_without_it_none_counts() -> None:
    (task,) = tasks_of([document("b"), document("a")]).values()
    assert task.ambiguous and "'a', 'b'" in task.remark and "'m.t'" in task.remark


@pytest.mark.integration
@pytest.mark.parametrize("head", [{}, {"_id": "another"}, {"_id": 7}, {"_id": {"of": "us", "n": 7}}])
def test_a_document_with_any_id_runs_and_is_moved(rig: Rig, head: dict[str, Any]) -> None:
    key = rig.insert_as(head, "oid", interval_para={"second": "*"})
    loop, app = rig.app()
    loop.turn()
    assert rig.said("oid") == "running"
    eventually("a tick", lambda: len(rig.hints.sent) >= 1)
    http: FlaskClient = app.test_client()
    answer = http.post("/pause_a_task/", json={"task_id": "oid"})
    assert (answer.status_code, answer.get_json()["data"]["state"]) == (200, "paused")
    assert rig.document("oid")["_id"] == key and rig.said("oid") == "paused"
    assert http.post("/remove_a_task/", json={"task_id": "oid"}).status_code == 200
    assert (
        http.post(
            "/publish_a_task/", json={"task_id": "oid", "task_name": "s2s", "task_kwargs": {"edge": "move"}, "hour": 3}
        ).status_code
        == 200
    )
    assert [raw["_id"] for raw in rig.tasks.read()] == [key], "no second document was made"


@pytest.mark.integration
def test_the_schedule_of_an_edge_goes_into_the_document_that_is_there(rig: Rig) -> None:
    rig.write("{second: '*/7'}")
    key = rig.insert_as({}, "move", interval_para=NIGHTLY, set_to_status="paused")
    rig.loop().turn()
    (raw,) = rig.tasks.read()
    assert (raw["_id"], raw["interval_para"], raw["set_to_status"]) == (key, {"second": "*/7"}, "paused")


@pytest.mark.integration
def test_two_documents_for_one_task_are_told_and_none_runs(rig: Rig, capsys: pytest.CaptureFixture[str]) -> None:
    one, other = rig.insert_as({}, "dup"), rig.insert_as({"_id": "second"}, "dup")
    loop, app = rig.app()
    loop.turn()
    assert loop.states() == {} and rig.hints.sent == []
    why = loop.runs.of(f"{rig.machine}.dup").why
    assert str(one) in why and "second" in why and f"{rig.machine}.dup" in why
    assert {raw["running_status"] for raw in rig.tasks.read()} == {"init"}
    answer = app.test_client().post("/pause_a_task/", json={"task_id": "dup"})
    assert answer.status_code == 409 and str(one) in answer.get_json()["msg"]
    assert run(["task", "show", "dup", "-f", str(rig.path)]) == 2
    assert "several documents" in capsys.readouterr().err

    rig.delete(other)
    loop.turn()
    assert loop.states() == {"dup": "running"} and loop.runs.of(f"{rig.machine}.dup").why == ""


@pytest.mark.integration
def test_a_document_beside_the_right_one_changes_nothing(rig: Rig) -> None:
    pid = rig.insert("dup", interval_para=NIGHTLY)
    rig.insert_as({}, "dup", interval_para={"second": "*"}, set_to_status="paused")
    loop = rig.loop()
    loop.turn()
    assert loop.states() == {"dup": "running"} and "count for nothing" in loop.runs.of(pid).why
    assert rig.document("dup")["_id"] == pid


@pytest.mark.integration
def test_the_commands_reach_it_and_hide_passwords(rig: Rig, capsys: pytest.CaptureFixture[str]) -> None:
    rig.insert_as({}, "oid", interval_para=NIGHTLY)
    rig.insert("call", job_name="make_a_request", task_kwargs={"url": "http://u:hunter2@127.0.0.1/"})
    loop = rig.loop()
    loop.turn()
    words = ["-f", str(rig.path), "--json"]
    assert run(["task", "ls", *words]) == 0
    listed = capsys.readouterr().out
    assert "hunter2" not in listed
    assert {one["task_id"]: one["state"] for one in json.loads(listed)} == {"oid": "running", "call": "init"}
    assert run(["task", "show", "oid", *words]) == 0
    assert json.loads(capsys.readouterr().out)["state"] == "running"
    assert run(["task", "show", "nobody", *words]) != 0
    assert "but call, oid" in capsys.readouterr().err


@pytest.mark.integration
def test_its_runs_are_asked_for_and_found(rig: Rig) -> None:
    rig.insert_as({}, "oid", interval_para=NIGHTLY)
    loop = rig.loop()
    loop.turn()
    asked = int(time.time() * 1000)
    rig.tasks.ask(f"{rig.machine}.oid", asked)
    loop.turn()
    eventually("the run", lambda: rig.hints.ticks == [asked])
