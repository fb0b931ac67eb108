"""Who gets in at the sync room's API, and what is written down about it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from flask.testing import FlaskClient

from dataflow.access import history
from dataflow.access.ring import add_key
from dataflow.access.scopes import OPEN, SCOPES, Scope
from dataflow.flow.load import load
from dataflow.store.declare import apply
from dataflow.store.keys import Keys
from dataflow.store.redis import Client, connect
from sync.api.app import NEEDS
from sync.api.host import Host

pytestmark = pytest.mark.integration

KEYS = Keys("f")
FLOW = """
flow: f
connections: {{main: {{redis: "{url}"}}}}
streams: {{a.stream_out: {{}}, b.stream_in: {{keep: {{messages: 9}}}}}}
edges: {{copy: {{kind: s2s, from: a.stream_out, to: b.stream_in, task: external}}}}
"""


class Closed:
    """An API that asks for keys."""

    def __init__(self, folder: Path, url: str) -> None:
        path = folder / "flow.yml"
        path.write_text(FLOW.format(url=url))
        self.redis: Client = connect(url)
        apply(load(path), self.redis)
        self._keys = {scope: add_key(self.redis, KEYS, scope, (scope,))[1].text for scope in SCOPES}
        self.host = Host(path, 1, keys_required=True)
        self.http: FlaskClient = self.host.app.test_client()

    def key(self, scope: Scope) -> dict[str, str]:
        return {"X-API-Key": self._keys[scope]}


@pytest.fixture
def closed(tmp_path: Path, redis_url: str) -> Iterator[Closed]:
    made = Closed(tmp_path, redis_url)
    yield made
    made.host.close()
    made.redis.close()


REQUESTS = {
    "s2s": ("POST", "/s2s/"),
    "s2ch": ("POST", "/s2ch/"),
    "run_edge": ("POST", "/edges/none/run"),
    "get_result": ("GET", "/get_result/none"),
    "edges": ("GET", "/edges"),
    "version": ("GET", "/version"),
}


def test_every_address_says_what_it_needs(closed: Closed) -> None:
    assert {rule.endpoint for rule in closed.host.app.url_map.iter_rules()} == set(NEEDS)


@pytest.mark.parametrize("endpoint", [name for name, need in NEEDS.items() if need is not OPEN])
def test_each_scope_at_each_address(closed: Closed, endpoint: str) -> None:
    method, path = REQUESTS[endpoint]
    assert closed.http.open(path, method=method, json={}).status_code == 401
    for scope in SCOPES:
        answer = closed.http.open(path, method=method, json={}, headers=closed.key(scope))
        may = {"viewer": method == "GET", "produce": False, "operate": True, "admin": True}[scope]
        assert (answer.status_code != 403) is may, (scope, answer.text)


def test_a_run_is_written_down(closed: Closed) -> None:
    assert closed.http.get("/livez").status_code == 200
    assert closed.http.get("/readyz").get_json()["data"] == {}
    headers = {**closed.key("operate"), "X-Request-ID": "r-9"}
    run = closed.http.post("/edges/copy/run", headers=headers).text
    assert closed.http.post("/edges/none/run", headers=headers).status_code == 404
    (entry,) = history.read(closed.redis, KEYS, 9)
    assert (entry.what, entry.subject, entry.request) == ("run_edge", "copy", "r-9")
    assert entry.facts == {"run": run, "status": 200} and entry.who.endswith(" operate")
