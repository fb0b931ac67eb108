"""docs/WORKERS.md: every handler in it is one."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from workers import child, parent
from workers.handlers import python

TEXT = (Path(__file__).parents[2] / "docs" / "WORKERS.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)


@pytest.mark.parametrize("source", BLOCKS, ids=[block.splitlines()[0] for block in BLOCKS])
def test_every_example_compiles_and_has_a_handler(source: str) -> None:
    names: dict[str, object] = {"__name__": "steps"}
    exec(compile(source, "WORKERS.md", "exec"), names)
    assert any(callable(found) and getattr(found, "__module__", "") == "steps" for found in names.values())


def test_it_names_the_modules_that_a_user_cannot_have() -> None:
    for name in python.OURS:
        assert f"`{name}`" in TEXT


def test_it_tells_the_exit_codes() -> None:
    assert f"| {parent.EXIT_OK} | stopped" in TEXT
    assert f"| {parent.EXIT_UNUSABLE} | the handler cannot be used" in TEXT
    assert child.EXIT_UNUSABLE not in (parent.EXIT_OK, parent.EXIT_UNUSABLE)
