"""Functions as jobs: those of the modules that the flow names, and no other."""

from __future__ import annotations

from pathlib import Path

import pytest

from scheduler.jobs.function import FunctionJob, function_of, is_function
from scheduler.jobs.kind import BadJob

MODULE = """
from os import system

def double(n): return n * 2
def nothing(): return None
def fails(): raise ValueError("no")
def _hidden(): ...
number = 5
"""


@pytest.fixture(autouse=True)
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "nightly_jobs.py").write_text(MODULE)
    (tmp_path / "broken_jobs.py").write_text("raise SystemError('broken')")
    monkeypatch.syspath_prepend(tmp_path)


@pytest.mark.parametrize(
    ("name", "is_one"),
    [
        ("a:b", True),
        ("a.b:c", True),
        ("s2ch", False),
        ("a:b.c", False),
        ("a:_b", False),
        ("a b:c", False),
        (":b", False),
    ],
)
def test_the_form_of_a_function(name: str, is_one: bool) -> None:
    assert is_function(name) is is_one


def test_a_function_is_called_with_the_arguments() -> None:
    outcome = FunctionJob("nightly_jobs:double", lambda: ["nightly_jobs"]).run({"n": 4}, 0, "")
    assert (outcome.state, outcome.facts) == ("ok", {"result": "8"})


def test_what_it_raises_is_the_error_of_the_run() -> None:
    outcome = FunctionJob("nightly_jobs:fails", lambda: ["nightly_jobs"]).run({}, 0, "")
    assert (outcome.state, outcome.error) == ("error", "ValueError: no")


def test_wrong_arguments_are_an_error_of_the_run() -> None:
    assert "unexpected" in FunctionJob("nightly_jobs:double", lambda: ["nightly_jobs"]).run({"m": 4}, 0, "").error


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("os:system", "may not be jobs"),
        ("nightly_jobs:system", "defines no function"),
        ("nightly_jobs:number", "defines no function"),
        ("nightly_jobs:missing", "defines no function"),
        ("nightly_jobs:_hidden", "form"),
        ("broken_jobs:x", "SystemError: broken"),
        ("absent_jobs:x", "may not be jobs"),
    ],
)
def test_everything_else_is_refused(name: str, says: str) -> None:
    with pytest.raises(BadJob, match=says):
        function_of(name, ["nightly_jobs", "broken_jobs"])
