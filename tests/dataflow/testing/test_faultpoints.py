"""Fault points: off they do not exist, on they strike one process once."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from dataflow.testing.faultpoints import POINTS, Act, Faults, When, owner_of

STEP = """
import sys
from pathlib import Path
from dataflow.testing import faultpoints
from dataflow.store.door import Door

Door.append = lambda self, entries: print("appended", flush=True) or entries
faultpoints.install(Path(sys.argv[1]), "dataflow")
door = Door.__new__(Door)
door.append([])
door.append([1])
print("heard", flush=True)
"""


def run(folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", STEP, str(folder)], capture_output=True, text=True, timeout=60, check=False
    )


@pytest.mark.parametrize("target", POINTS.values(), ids=POINTS)
def test_every_point_is_a_method_of_its_class(target: str) -> None:
    owner, method = owner_of(target)
    assert callable(vars(owner)[method]) or any(method in vars(base) for base in owner.__mro__)


@pytest.mark.parametrize("target", POINTS.values(), ids=POINTS)
def test_without_the_variable_every_method_is_the_plain_one(target: str) -> None:
    assert "DATAFLOW_FAULTS" not in os.environ
    owner, method = owner_of(target)
    assert not hasattr(getattr(owner, method), "__wrapped__")


def test_without_the_variable_no_command_loads_them() -> None:
    code = (
        "import sys\nfrom dataflow.cli import COMMANDS\n"
        "[COMMANDS[name].load() for name in ('hub', 'worker', 'sync', 'scheduler')]\n"
        "assert 'dataflow.testing.faultpoints' not in sys.modules"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False, timeout=60).returncode == 0


def test_with_the_variable_a_command_has_the_points_of_the_core_and_its_own(tmp_path: Path) -> None:
    code = (
        "from dataflow.cli import COMMANDS\nfrom dataflow.testing.faultpoints import POINTS, owner_of\n"
        "COMMANDS['hub'].load()\n"
        "print(*[name for name, target in POINTS.items() if hasattr(getattr(*owner_of(target)), '__wrapped__')])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, "DATAFLOW_FAULTS": str(tmp_path)},
        capture_output=True, text=True, check=True, timeout=60,
    )  # fmt: skip
    assert set(done.stdout.split()) == {"accept", *(name for name, at in POINTS.items() if at.startswith("dataflow."))}


def test_with_an_empty_folder_nothing_happens(tmp_path: Path) -> None:
    assert run(tmp_path).stdout == "appended\nappended\nheard\n"


@pytest.mark.parametrize(
    ("when", "seen"),
    [("before", ""), ("after", "appended\nappended\n")],  # the first one found nothing to do
)
def test_it_strikes_once(tmp_path: Path, when: When, seen: str) -> None:
    faults = Faults(tmp_path)
    faults.arm("append", when, "kill")
    assert faults.struck("append", when) is None
    done = run(tmp_path)
    assert (done.returncode, done.stdout) == (-signal.SIGKILL, seen)
    assert faults.struck("append", when)
    assert run(tmp_path).returncode == 0


def test_a_process_can_be_stopped_and_woken(tmp_path: Path) -> None:
    act: Act = "stop"
    faults = Faults(tmp_path)
    faults.arm("append", "before", act)
    process = subprocess.Popen([sys.executable, "-c", STEP, str(tmp_path)], stdout=subprocess.PIPE)
    try:
        _, status = os.waitpid(process.pid, os.WUNTRACED)
        assert os.WIFSTOPPED(status) and faults.struck("append", "before") == process.pid
        process.send_signal(signal.SIGCONT)
        assert process.communicate(timeout=60)[0] == b"appended\nappended\nheard\n"
    finally:
        process.kill()
        process.wait()


def test_a_point_that_does_not_exist_is_told(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no fault point 'apend', but accept, append"):
        Faults(tmp_path).arm("apend", "before", "kill")
