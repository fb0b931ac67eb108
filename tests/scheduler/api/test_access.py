"""Who gets in at the scheduler's API, and what is written down about it."""

from __future__ import annotations

import pytest
from flask.testing import FlaskClient

from dataflow.access import history
from dataflow.access.gate import Gate
from dataflow.access.ring import add_key
from dataflow.access.scopes import OPEN, SCOPES, Scope
from dataflow.store.keys import Keys
from dataflow.store.redis import Client, connect
from scheduler.api.app import NEEDS
from tests.scheduler.rig import Rig

pytestmark = pytest.mark.integration

KEYS = Keys("f")
TASK = {"task_id": "t", "task_name": "s2s", "task_kwargs": {"edge": "move"}, "hour": 3}


class Closed:
    """An API that asks for keys."""

    def __init__(self, rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
        self.redis: Client = connect(rig.redis_url)
        self._keys = {scope: add_key(self.redis, KEYS, scope, (scope,))[1].text for scope in SCOPES}
        gate = Gate(lambda: (self.redis, KEYS), required=True)
        monkeypatch.setattr(Rig, "gate", gate)
        self.loop, self.app = rig.app()
        self.loop.turn()
        self.http: FlaskClient = self.app.test_client()

    def key(self, scope: Scope) -> dict[str, str]:
        return {"Authorization": "Bearer " + self._keys[scope]}


@pytest.fixture
def closed(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> Closed:
    return Closed(rig, monkeypatch)


def test_every_address_says_what_it_needs(closed: Closed) -> None:
    assert {rule.endpoint for rule in closed.app.url_map.iter_rules()} == set(NEEDS)


@pytest.mark.parametrize("endpoint", [name for name, need in NEEDS.items() if need is not OPEN])
def test_each_scope_at_each_address(closed: Closed, endpoint: str) -> None:
    method = "GET" if endpoint in ("get_jobs", "get_jobs_status", "version") else "POST"
    assert closed.http.open(f"/{endpoint}/", method=method, json={}).status_code == 401
    for scope in SCOPES:
        answer = closed.http.open(f"/{endpoint}/", method=method, json={}, headers=closed.key(scope))
        may = {
            "viewer": method == "GET",
            "produce": False,
            "operate": endpoint != "add_task_type",
            "admin": True,
        }[scope]
        assert (answer.status_code != 403) is may, (scope, answer.get_json())


def test_health_tells_strangers_yes_or_no(closed: Closed) -> None:
    assert closed.http.get("/livez/").status_code == 200
    assert closed.http.get("/readyz/").get_json()["data"] == {}
    assert closed.http.get("/readyz/", headers=closed.key("viewer")).get_json()["data"]["leads"] is True


def test_what_was_changed_is_written_down_and_what_was_refused_is_not(closed: Closed) -> None:
    headers = {**closed.key("operate"), "X-Request-ID": "r-7"}
    assert closed.http.post("/publish_a_task/", json=TASK, headers=headers).status_code == 200
    assert closed.http.post("/pause_a_task/", json={"task_id": "nobody"}, headers=headers).status_code == 404
    assert closed.http.post("/pause_a_task/", json={"task_id": "t"}, headers=closed.key("viewer")).status_code == 403
    assert closed.http.post("/pause_a_task/", json={"task_id": "t"}).status_code == 401
    assert closed.http.get("/get_jobs/", headers=headers).status_code == 200
    became, entry = history.read(closed.redis, KEYS, 10)
    assert (became.who.split()[0], became.what, became.subject) == ("scheduler", "task running", "t")
    assert entry.who.startswith("key ") and entry.who.endswith(" operate")
    assert (entry.what, entry.subject, entry.request) == ("publish_a_task", "t", "r-7")
    assert entry.facts == {"job": "s2s", "status": 200}
