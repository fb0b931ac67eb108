"""The frame of the command line: lazy, and with exit codes that can be relied on."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import click
import pytest

from dataflow.cli import COMMANDS, run
from dataflow.errors import DataflowError, Fenced, ServerAway, UserError

HEAVY = (
    "redis",
    "flask",
    "celery",
    "pandas",
    "pydantic",
    "yaml",
    "rich",
    "chdb",
    "message_hub",
    "workers",
    "sync",
    "scheduler",
)


def group_that_raises(error: BaseException) -> click.Group:
    @click.group()
    def group() -> None:
        """A group."""

    @group.command()
    def act() -> None:
        raise error

    return group


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (UserError("no"), 2),
        (ServerAway("no"), 3),
        (Fenced("no"), 6),
        (DataflowError("no"), 1),
        (KeyboardInterrupt(), 130),
        (click.UsageError("no"), 2),
        (click.exceptions.Exit(5), 5),
        (ValueError("no"), 70),
    ],
)
def test_each_error_has_its_exit_code(error: BaseException, code: int) -> None:
    assert run(["act"], group_that_raises(error)) == code


def test_an_error_is_one_clear_line_without_secrets(capsys: pytest.CaptureFixture[str]) -> None:
    run(["act"], group_that_raises(ServerAway("redis://:hunter2@host/0 is away")))
    assert capsys.readouterr() == ("", "dataflow: redis://:***@host/0 is away\n")


def test_a_bug_shows_its_traceback(capsys: pytest.CaptureFixture[str]) -> None:
    run(["act"], group_that_raises(ZeroDivisionError("redis://:hunter2@host")))
    error = capsys.readouterr().err
    assert "Traceback" in error and "ZeroDivisionError" in error and "hunter2" not in error


def test_every_exit_code_is_documented() -> None:
    page = (Path(__file__).parents[3] / "docs" / "CLI.md").read_text(encoding="utf-8")
    for kind in _family(DataflowError):
        if kind.__module__ != "dataflow.errors":
            continue  # a room's own subclass keeps the code of its parent
        assert f"`{kind.__name__}`" in page, f"{kind.__name__} is missing in docs/CLI.md"
        (row,) = [line for line in page.splitlines() if line.startswith("| ") and f"`{kind.__name__}`" in line]
        assert row.split("|")[1].strip() == str(kind.exit_code), row


def test_every_command_is_documented() -> None:
    page = (Path(__file__).parents[3] / "docs" / "CLI.md").read_text(encoding="utf-8")
    assert [name for name in COMMANDS if f"| `{name}" not in page] == []


@pytest.mark.acceptance
def test_help_is_fast_and_imports_no_room() -> None:
    code = "import sys; from dataflow.cli import run; run(['--help']); print(*sys.modules, file=sys.stderr)"
    times = []
    for _ in range(5):
        begun = time.perf_counter()
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        times.append(time.perf_counter() - begun)
    loaded = set(done.stderr.split())
    assert all(name in done.stdout for name in COMMANDS)
    assert loaded.isdisjoint(HEAVY)
    assert min(times) < 0.5


@pytest.mark.acceptance
def test_a_reader_that_goes_away_is_no_error() -> None:
    code = (
        "import sys, click; from dataflow.cli import run\n"
        "@click.group()\ndef g(): pass\n"
        "@g.command()\ndef act():\n  for i in range(100000): click.echo(i)\n"
        "sys.exit(run(['act'], g))"
    )
    writer = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert writer.stdout is not None and writer.stderr is not None
    assert writer.stdout.readline() == "0\n"
    writer.stdout.close()
    assert writer.stderr.read() == ""
    assert writer.wait(timeout=30) == 141
    writer.stderr.close()


@pytest.mark.acceptance
def test_the_module_is_the_command() -> None:
    done = subprocess.run(
        [sys.executable, "-P", "-m", "dataflow", "--version"], capture_output=True, text=True, check=True
    )
    assert done.stdout.startswith("dataflow ")


def _family(kind: type[DataflowError]) -> list[type[DataflowError]]:
    return [kind, *(c for child in kind.__subclasses__() for c in _family(child))]
