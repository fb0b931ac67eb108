"""What is packaged is what is there."""

from __future__ import annotations

import fnmatch
import re
import subprocess
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
ROOMS = ("dataflow", "message_hub", "workers", "sync", "scheduler")


def test_every_room_is_packaged() -> None:
    assert PROJECT["tool"]["setuptools"]["packages"]["find"]["include"] == [f"{room}*" for room in ROOMS]


def test_every_data_file_is_packaged() -> None:
    patterns = PROJECT["tool"]["setuptools"]["package-data"]
    files = [path.relative_to(ROOT) for room in ROOMS for path in (ROOT / room).rglob("*") if path.is_file()]
    data = [path for path in files if path.suffix != ".py" and "__pycache__" not in path.parts]
    missing = [
        path
        for path in data
        if not any(
            fnmatch.fnmatch(path.name, pattern)
            for package in ("*", str(path.parent).replace("/", "."))
            for pattern in patterns.get(package, [])
        )
    ]
    assert missing == []


def test_requirements_are_the_dependencies() -> None:
    lines = (ROOT / "requirements.txt").read_text(encoding="utf-8").splitlines()
    assert [line for line in lines if not line.startswith("#")] == PROJECT["project"]["dependencies"]


def test_the_readme_begins_with_the_two_commands_and_make_knows_them() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    first, second = re.findall(r"^\$ (.*?)(?:\s+#.*)?$", readme, re.MULTILINE)[:2]
    assert (first, second) == ("make demo", "make test")


@pytest.mark.acceptance
def test_make_help_lists_every_target() -> None:
    told = subprocess.run(["make", "help"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    targets = re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    assert targets and [name for name in targets if f"make {name} " not in told] == []


@pytest.mark.acceptance
@pytest.mark.parametrize("script", [".ci/run", "tools/setup"])
def test_scripts_parse_and_can_be_run(script: str) -> None:
    path = ROOT / script
    subprocess.run(["bash", "-n", path], check=True)
    assert path.stat().st_mode & 0o111
