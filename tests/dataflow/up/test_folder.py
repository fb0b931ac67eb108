"""One `up` per data folder."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from dataflow.up.folder import AlreadyRunning, DataFolder

HOLD = """
import sys; from pathlib import Path
from dataflow.up.folder import DataFolder
folder = DataFolder(Path(sys.argv[1]))
with folder.locked():
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def folder(tmp_path: Path) -> DataFolder:
    folder = DataFolder.of(tmp_path / "flow.yml")
    folder.create()
    return folder


def test_it_lies_beside_the_flow_file_and_is_private(folder: DataFolder, tmp_path: Path) -> None:
    assert folder.path == tmp_path / ".dataflow"
    assert folder.path.stat().st_mode & 0o777 == 0o700


def test_it_can_be_put_elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATAFLOW_DATA_DIR", str(tmp_path / "var" / "lib" / "water"))
    folder = DataFolder.of(tmp_path / "flow.yml")
    folder.create()
    assert folder.path == tmp_path / "var" / "lib" / "water"
    assert folder.logs.is_dir()


def test_nothing_holds_a_folder_that_does_not_exist(tmp_path: Path) -> None:
    folder = DataFolder(tmp_path / "nowhere")
    assert not folder.is_locked()
    assert folder.holder() is None


@pytest.mark.acceptance
def test_a_second_one_is_told_who_holds_it_until_that_one_is_killed(folder: DataFolder) -> None:
    other = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(folder.path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    with other:
        assert other.stdout is not None
        assert other.stdout.readline() == "held\n"
        expected = rf"already runs in {folder.path.parent} \(pid {other.pid}\)"
        with pytest.raises(AlreadyRunning, match=expected), folder.locked():
            raise AssertionError("two hold one folder")
        holder = folder.holder()
        assert holder is not None and holder.pid == other.pid
        other.kill()
        other.wait()
        assert not folder.is_locked()
        with folder.locked():
            holder = folder.holder()
            assert holder is not None and holder.pid == os.getpid()


def test_children_do_not_inherit_the_lock(folder: DataFolder) -> None:
    with folder.locked():
        child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    assert not folder.is_locked()
    child.communicate(b"\n")
