"""The HTTP API over a real loop: every answer is told when its effect is real."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient

from dataflow.store.keys import Keys
from dataflow.store.leadership import Leadership
from dataflow.store.redis import connect
from scheduler.record import Outcome
from tests.scheduler.clients import DocumentFollower, JobsClient
from tests.scheduler.rig import Rig, eventually

pytestmark = pytest.mark.integration

NIGHTLY = {"hour": 3, "minute": 0, "second": 0}
EDGE = {"edge": "move"}


class Door:
    """The API of one loop, without sockets."""

    def __init__(self, rig: Rig) -> None:
        self.rig = rig
        self.loop, app = rig.app()
        self.loop.turn()
        self.http: FlaskClient = app.test_client()
        self.client = JobsClient(self.send)
        self.status = 0

    def send(self, method: str, path: str, body: dict[str, Any] | None) -> dict[str, Any]:
        """One request."""
        answer = self.http.open(path, method=method, json=body)
        self.status = answer.status_code
        found: dict[str, Any] = answer.get_json()
        return found


@pytest.fixture
def door(rig: Rig) -> Iterator[Door]:
    yield Door(rig)


def test_the_form_of_every_answer(door: Door) -> None:
    answer = door.client.get_jobs_status()
    assert answer == {
        "status": True,
        "msg": "ok",
        "name": "get_jobs_status",
        "duration": answer["duration"],
        "data": {},
    }
    assert 0 <= answer["duration"] < 5
    refused = door.client.pause("nobody")
    assert (refused["status"], refused["name"], door.status) == (False, "pause_a_task", 404) and "nobody" in refused[
        "msg"
    ]


@pytest.mark.parametrize("slash", ["", "/"])
def test_every_address_with_and_without_a_slash(door: Door, slash: str) -> None:
    for path in ("get_jobs", "get_jobs_status"):
        assert door.send("GET", f"/{path}{slash}", None)["name"] == path
    for path in ("publish_a_task", "pause_a_task", "resume_a_task", "remove_a_task", "add_task_type"):
        assert door.send("POST", f"/{path}{slash}", {})["name"] == path
        assert door.status == 422


def test_a_task_through_its_life(door: Door) -> None:
    client = door.client
    assert client.publish("t", "s2s", EDGE, **NIGHTLY)["status"]
    assert client.get_jobs()["data"] == ["t"]
    (task,) = client.get_jobs_status()["data"].values()
    assert re.fullmatch(r"\d{4}-\d\d-\d\d 03:00:00", task["next_run_time"]) and task["pending"] is False
    assert client.pause("t")["data"] == {"task_id": "t", "state": "paused"}
    assert client.get_jobs()["data"] == ["t"] and client.get_jobs_status()["data"] == {}
    assert client.resume("t")["status"] and list(client.get_jobs_status()["data"]) == ["t"]
    assert client.remove("t")["status"]
    assert client.get_jobs()["data"] == [] and client.get_jobs_status()["data"] == {}
    assert client.publish("t", "s2s", EDGE, **NIGHTLY)["status"], "and it can be published again"


def test_the_document_says_what_was_done(door: Door) -> None:
    door.client.publish("t", "s2s", EDGE, **NIGHTLY, start_date="2026-01-01 00:00:00", end_date="2999-01-01 00:00:00")
    document = door.rig.document()
    assert (document["job_name"], document["interval_para"], document["task_kwargs"]) == ("s2s", NIGHTLY, EDGE)
    assert (document["start_dt"], document["end_dt"]) == ("2026-01-01 00:00:00", "2999-01-01 00:00:00")
    assert (document["set_to_status"], document["running_status"]) == ("running", "running")
    door.client.pause("t")
    document = door.rig.document()
    assert (document["set_to_status"], document["running_status"]) == ("paused", "paused")
    door.client.remove("t")
    document = door.rig.document()
    assert (document["set_to_status"], document["running_status"]) == ("init", "init")


@pytest.mark.parametrize(
    ("schedule", "kept"),
    [
        ({"task_type": "interval", "minutes": 5}, {"interval": {"minutes": 5}}),
        ({"task_type": "date", "run_date": "2999-01-01 00:00:00"}, {"date": {"run_date": "2999-01-01 00:00:00"}}),
    ],
)
def test_intervals_and_dates(door: Door, schedule: dict[str, Any], kept: dict[str, Any]) -> None:
    body = {"task_id": "t", "task_name": "s2s", "task_kwargs": EDGE, **schedule}
    assert door.send("POST", "/publish_a_task", body)["status"]
    assert door.rig.document()["interval_para"] == kept and door.client.get_jobs()["data"] == ["t"]


def test_a_published_task_fires(door: Door) -> None:
    door.client.publish("t", "s2s", EDGE, second="*")
    eventually("a tick", lambda: bool(door.rig.hints.sent))


def test_a_pause_waits_for_the_run_under_way(door: Door) -> None:
    door.rig.hints.answer = None
    door.client.publish("t", "s2s", EDGE, second="*")
    eventually("a hint", lambda: bool(door.rig.hints.sent))
    door.rig.hints.answer = Outcome("empty")
    door.rig.hints.answers[door.rig.hints.ids[0]] = Outcome("empty")
    assert door.client.pause("t")["data"] == {"task_id": "t", "state": "paused"}
    assert not door.loop.runs.of(f"{door.rig.machine}.t").under_way


@pytest.mark.parametrize(
    ("before", "move", "says"),
    [
        ([], "pause", "no task"),
        (["publish"], "publish", "running"),
        (["publish"], "resume", "running"),
        (["publish", "pause"], "pause", "paused"),
        (["publish", "pause"], "publish", "paused"),
        (["publish", "remove"], "pause", "init"),
        (["publish", "remove"], "resume", "init"),
    ],
)
def test_a_move_that_is_not_allowed_changes_nothing(door: Door, before: list[str], move: str, says: str) -> None:
    def act(move: str) -> dict[str, Any]:
        if move == "publish":
            return door.client.publish("t", "s2s", EDGE, **NIGHTLY)
        found: dict[str, Any] = getattr(door.client, move)("t")
        return found

    for step in before:
        assert act(step)["status"]
    states = door.loop.states()
    refused = act(move)
    assert not refused["status"] and says in refused["msg"] and door.status in (404, 409)
    assert door.loop.states() == states


def test_a_removed_task_can_be_removed_again(door: Door) -> None:
    door.client.publish("t", "s2s", EDGE, **NIGHTLY)
    assert door.client.remove("t")["status"] and door.client.remove("t")["status"]


@pytest.mark.parametrize(
    ("job", "kwargs", "schedule", "says"),
    [
        ("no such job", {}, NIGHTLY, "no such job"),
        ("s2s", {"edge": "none"}, NIGHTLY, "none"),
        ("make_a_request", {"url": "http://169.254.169.254/"}, NIGHTLY, "may not be called"),
        ("os:system", {"command": "true"}, NIGHTLY, "may not be jobs"),
        ("s2s", EDGE, {"hour": 25}, "25"),
        ("s2s", EDGE, {}, "names none"),
        ("s2s", EDGE, {"hour": 3, "end_date": "2001-01-01 00:00:00"}, "no further run"),
        ("s2s", EDGE, {"second": "*/5", "start_date": "9999-12-31 23:59:59"}, "start_date '9999-12-31 23:59:59'"),
        ("s2s", [1], NIGHTLY, "task_kwargs"),
        (None, {}, NIGHTLY, "task_name"),
    ],
)
def test_what_could_not_run_is_not_published(door: Door, job: str, kwargs: Any, schedule: Any, says: str) -> None:
    refused = door.client.publish("t", job, kwargs, **schedule)
    assert not refused["status"] and says in refused["msg"] and door.status == 422
    assert door.rig.tasks.find("t") is None


def test_a_disabled_task_stays_disabled(door: Door) -> None:
    door.rig.insert(is_enable=0)
    refused = door.client.publish("t", "s2s", EDGE, **NIGHTLY)
    assert door.status == 409 and "is_enable" in refused["msg"] and door.loop.states() == {}


def test_the_schedule_of_the_flow_stays(rig: Rig) -> None:
    rig.write("{hour: 5}")
    door = Door(rig)
    assert door.client.get_jobs()["data"] == ["move"]
    door.client.remove("move")
    assert door.client.publish("move", "s2s", EDGE, second="*")["status"]
    assert door.rig.document("move")["interval_para"] == {"hour": 5}


def test_source_code_is_refused_with_the_way_to_do_it(door: Door) -> None:
    refused = door.client.add_source("mine", "import os\ndef mine(): os.system('true')")
    assert door.status == 422 and "source code is not taken" in refused["msg"]
    assert "modules" in refused["data"]["how"]
    built_in = door.client.add_source("make_a_request", "def make_a_request(): ...")
    assert not built_in["status"] and "is built in" in built_in["msg"]


def test_a_function_gets_a_name(rig: Rig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "api_test_jobs.py").write_text("def tidy(): return 'tidied'\n")
    monkeypatch.syspath_prepend(tmp_path)
    rig.path.write_text(rig.path.read_text().replace("timezone: UTC", "timezone: UTC, modules: [api_test_jobs]"))
    door = Door(rig)
    body = {"func_name": "tidy", "function": "api_test_jobs:tidy"}
    assert door.send("POST", "/add_task_type/", body)["data"] == body
    assert door.client.publish("t", "tidy", {}, second="*")["status"]
    eventually("a run", lambda: bool(door.loop.runs.of(f"{rig.machine}.t").history))
    assert door.loop.runs.of(f"{rig.machine}.t").history[0].facts == {"result": "tidied"}
    door.loop.stop()
    assert Door(rig).loop.states() == {"t": "running"}, "the name is remembered"


@pytest.mark.parametrize(
    ("data", "kind", "status"),
    [
        (b"{", "application/json", 400),
        (b"[]", "application/json", 422),
        (b'{"task_id": "t"}', "text/plain", 415),
        (b"[" * 200_000, "application/json", 400),
        (b'"' + b"x" * 2_000_000 + b'"', "application/json", 413),
    ],
)
def test_bodies_that_cannot_be_read(door: Door, data: bytes, kind: str, status: int) -> None:
    answer = door.http.post("/pause_a_task/", data=data, content_type=kind)
    assert answer.status_code == status and answer.get_json()["status"] is False


def test_unknown_addresses_and_methods_are_told_in_the_same_form(door: Door) -> None:
    assert door.send("GET", "/nothing", None)["status"] is False and door.status == 404
    assert door.send("GET", "/pause_a_task/", None)["status"] is False and door.status == 405


def test_health(door: Door) -> None:
    ready = door.send("GET", "/readyz", None)
    assert ready["status"] and ready["data"]["leads"] is True
    assert door.send("GET", "/livez", None)["status"]
    assert door.send("GET", "/version", None)["data"]["machine"] == door.rig.machine


def test_readyz_names_a_task_that_cannot_be_followed(door: Door) -> None:
    pid = door.rig.insert("bad", interval_para={"second": "*/5"}, start_dt="9999-12-31 23:59:59")
    door.loop.turn()
    ready = door.send("GET", "/readyz", None)
    assert ready["status"] and ready["data"]["trouble"].startswith(f"task {pid}: start_date '9999-12-31 23:59:59'")


def test_who_stands_by_says_so(rig: Rig) -> None:
    leader = Leadership(connect(rig.redis_url), Keys("f"), rig.machine)
    leader.keep()
    door = Door(rig)
    refused = door.client.publish("t", "s2s", EDGE, **NIGHTLY)
    assert door.status == 503 and leader.nonce in refused["msg"]
    assert door.send("GET", "/readyz", None)["status"], "a standby is ready to take over"


def test_a_program_that_follows_documents_through_the_api(door: Door) -> None:
    follower = DocumentFollower(door.client, "t")
    document = {
        "job_name": "s2s", "interval_para": NIGHTLY, "task_kwargs": EDGE,
        "start_dt": "2026-01-01 00:00:00", "end_dt": "2999-01-01 00:00:00",
    }  # fmt: skip
    for wish in ("init", "running", "running", "paused", "running", "paused", "init", "running", "init"):
        assert follower.follow({**document, "set_to_status": wish}) == wish


def test_a_program_that_follows_documents_beside_the_loop(door: Door) -> None:
    """The same, where the loop has followed the document already: the program has nothing left to do."""
    pid = door.rig.insert(interval_para=NIGHTLY, start_dt="2026-01-01 00:00:00", end_dt="2999-01-01 00:00:00")
    follower = DocumentFollower(door.client, "t")
    for wish in ("running", "paused", "running", "init"):
        door.rig.set(pid, set_to_status=wish)
        door.loop.turn()
        assert follower.follow(door.rig.document()) == wish


def test_no_password_of_an_address_comes_back(door: Door) -> None:
    answer = door.client.publish("t", "make_a_request", {"url": "http://u:hunter2@127.0.0.1/"}, **NIGHTLY)
    assert door.status == 422 and "***" in answer["msg"] and "hunter2" not in str(answer)
    answer = door.client.publish("t", "s2s", {"edge": "redis://:hunter2@h/"}, **NIGHTLY)
    assert door.status == 422 and "***" in answer["msg"] and "hunter2" not in str(answer)
