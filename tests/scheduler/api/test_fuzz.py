"""Anything sent to the scheduler's API: never a 5xx, and what is refused changes nothing."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

import pytest
from flask.testing import FlaskClient
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from tests.scheduler.rig import Rig

pytestmark = pytest.mark.integration

PATHS = ("publish_a_task", "pause_a_task", "resume_a_task", "remove_a_task", "add_task_type")
OPERATORS = ("$ne", "$gt", "$where", "$regex", "$set", "a.b", "__proto__", "_id", "pid", "set_to_status")
TEXTS = st.text(max_size=12) | st.sampled_from(
    ["s2s", "make_a_request", "os:system", "builtins:eval", "move", "t", "cron", "interval", "date", "*/5", "UTC", "\0"]
)
SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXTS
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS | st.sampled_from(OPERATORS), inner, max_size=3),
    max_leaves=6,
)
NAMES = st.sampled_from(
    [
        "task_id", "task_name", "task_type", "task_kwargs", "description", "timezone", "start_date", "end_date", "hour",
        "second", "day", "run_date", "seconds", "weeks", "func_name", "function", "func_body",
    ]
)  # fmt: skip
BODIES = st.dictionaries(NAMES, VALUES, max_size=6)
PLAUSIBLE = st.fixed_dictionaries(
    {"task_id": TEXTS | VALUES, "task_name": st.just("s2s"), "task_kwargs": st.just({"edge": "move"}) | VALUES},
    optional={"hour": VALUES, "task_type": TEXTS, "start_date": VALUES, "timezone": VALUES, "seconds": VALUES},
)
LIKELY = st.tuples(
    st.just("publish_a_task"),
    st.fixed_dictionaries(
        {
            "task_id": st.sampled_from(["t", "u.v", "x" * 50]), "task_name": st.just("s2s"),
            "task_kwargs": st.just({"edge": "move"}), "task_type": st.just("cron"),
        },
        optional={"hour": st.sampled_from(["3", "*/5", "1-4"]) | VALUES, "second": st.integers(-5, 70) | VALUES},
    ),
)  # fmt: skip
"""Requests of which many are good."""
GOOD = [
    ("publish_a_task", {"task_id": "t", "task_name": "s2s", "task_kwargs": {"edge": "move"}, "task_type": kind, **when})
    for kind, when in (("cron", {"hour": "*/5"}), ("cron", {"second": 7}), ("interval", {"seconds": 90}))
]
"""Requests that are."""


@pytest.fixture
def http(rig: Rig) -> FlaskClient:
    loop, app = rig.app()
    loop.turn()
    return app.test_client()


def test_json_of_any_shape(rig: Rig, http: FlaskClient) -> None:
    accepted: Counter[str] = Counter()

    @given(request=st.tuples(st.sampled_from(PATHS), BODIES | PLAUSIBLE) | LIKELY)
    @example(request=GOOD[0])
    @example(request=GOOD[1])
    @example(request=GOOD[2])
    @settings(max_examples=150, deadline=None)
    def send(request: tuple[str, dict[str, Any]]) -> None:
        path, body = request
        before = rig.tasks.read()
        answer = http.post(f"/{path}/", json=body)
        assert answer.status_code < 500, answer.text
        if answer.status_code != 200:
            assert rig.tasks.read() == before
            return
        accepted[path] += 1
        assert isinstance(body.get("task_id", body.get("func_name")), str)
        if path == "publish_a_task":
            assert rig.tasks.read() != before
        http.post("/remove_a_task/", json={"task_id": body.get("task_id", "")})

    send()
    assert accepted["publish_a_task"] >= len(GOOD), accepted


@given(path=st.sampled_from(PATHS), body=st.binary(max_size=60) | VALUES.map(lambda value: json.dumps(value).encode()))
@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_bodies_of_any_bytes(rig: Rig, http: FlaskClient, path: str, body: bytes) -> None:
    answer = http.post(f"/{path}/", data=body, content_type="application/json")
    assert answer.status_code < 500, answer.text


NESTED = [("[", "]"), ('{"a":', "}")]
FIELDS = [
    *(("publish_a_task", name, {}) for name in (
        "task_id", "task_name", "task_type", "task_kwargs", "description", "timezone", "start_date", "end_date",
        "second", "minute", "day_of_week", "strange",
    )),
    ("publish_a_task", "run_date", {"task_type": "date"}),
    ("publish_a_task", "seconds", {"task_type": "interval"}),
    *((path, "task_id", {}) for path in PATHS[1:4]),
    *(("add_task_type", name, {"func_name": "f"}) for name in ("function", "func_body")),
    ("add_task_type", "func_name", {"function": "os:system"}),
]  # fmt: skip


@pytest.mark.parametrize(("path", "field", "fields"), FIELDS)
@pytest.mark.parametrize("deep", [30, 500, 900, 990, 1000, 3000, 20_000])
def test_what_is_nested_deep_is_refused_by_name(
    rig: Rig, http: FlaskClient, path: str, field: str, fields: dict[str, Any], deep: int
) -> None:
    base = {"task_id": "t", "task_name": "s2s"} if path == "publish_a_task" else {}
    body = {name: value for name, value in {**base, **fields}.items() if name != field}
    for opening, closing in NESTED:
        value = opening * deep + "1" + closing * deep
        data = json.dumps({**body, field: "VALUE"}).replace('"VALUE"', value)
        answer = http.post(f"/{path}/", data=data, content_type="application/json")
        assert answer.status_code in (400, 422), answer.text
        if answer.status_code == 422:
            assert field.removesuffix("_body") in answer.text or "source code" in answer.text, answer.text
    assert rig.tasks.read() == []


@pytest.mark.parametrize("path", PATHS[1:4])
@pytest.mark.parametrize("task_id", [{"$ne": ""}, {"$gt": ""}, {"$regex": ".*"}, ["t"], {"$where": "1"}, True, 1, None])
def test_no_operator_stands_for_a_task(rig: Rig, http: FlaskClient, path: str, task_id: Any) -> None:
    rig.insert()
    before = rig.tasks.read()
    assert http.post(f"/{path}/", json={"task_id": task_id}).status_code == 422
    assert rig.tasks.read() == before
