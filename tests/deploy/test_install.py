"""The installer: what it puts where, that it can be repeated, what it leaves and what it takes away."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.deploy.conftest import Install
from tests.deploy.units import ROOT, SYSTEMD, UNITS

pytestmark = pytest.mark.acceptance
WATER = ROOT / "examples" / "water"


def _tree(root: Path) -> dict[str, tuple[str, int]]:
    files = [path for path in root.rglob("*") if path.is_file()]
    return {
        str(path.relative_to(root)): (path.read_text(errors="replace"), path.stat().st_mode & 0o777) for path in files
    }


def test_it_puts_everything_in_place_and_says_what_comes_next(install: Install, tmp_path: Path, pip_log: Path) -> None:
    done = install("--flow", WATER)
    assert done.returncode == 0, done.stderr
    tree = _tree(tmp_path / "root")
    units = {f"usr/local/lib/systemd/system/{path.name}" for path in (*UNITS, SYSTEMD / "dataflow.target")}
    assert units <= set(tree)
    assert tree["etc/dataflow/dataflow.env"] == ((SYSTEMD / "dataflow.env.example").read_text(), 0o600)
    assert tree["opt/dataflow/flow/flow.yml"][0] == (WATER / "flow.yml").read_text()
    enable = next(line for line in done.stdout.splitlines() if "systemctl enable" in line)
    assert "dataflow-worker@anomaly" in enable and "scheduler" not in enable, "the flow has one worker and no task"
    program, handlers = pip_log.read_text().splitlines()
    assert "--upgrade" in program and "requirements.txt" in handlers


def test_again_is_an_upgrade_that_keeps_the_addresses(install: Install, tmp_path: Path) -> None:
    install("--flow", WATER)
    addresses = tmp_path / "root/etc/dataflow/dataflow.env"
    addresses.write_text("DATAFLOW_REDIS_URL='redis://:secret@db/0'\n")
    unit = tmp_path / "root/usr/local/lib/systemd/system/dataflow-hub.service"
    unit.write_text("old")
    (tmp_path / "root/opt/dataflow/flow/gone.py").write_text("")
    before = _tree(tmp_path / "root")
    assert install("--flow", WATER).returncode == 0
    after = _tree(tmp_path / "root")
    assert unit.read_text() == (SYSTEMD / "dataflow-hub.service").read_text()
    assert set(before) - set(after) == {"opt/dataflow/flow/gone.py"}, "files that the flow no longer has"
    assert "secret" in addresses.read_text()


def test_a_dry_run_changes_nothing(install: Install, tmp_path: Path) -> None:
    done = install("--flow", WATER, "--dry-run")
    assert done.returncode == 0 and "would write" in done.stdout, done.stderr
    assert not (tmp_path / "root").exists()


def test_uninstall_keeps_what_is_the_users_and_purge_does_not(install: Install, tmp_path: Path) -> None:
    install("--flow", WATER)
    enabled = tmp_path / "root/etc/systemd/system/dataflow.target.wants/dataflow-worker@anomaly.service"
    enabled.parent.mkdir(parents=True)
    enabled.symlink_to("/usr/local/lib/systemd/system/dataflow-worker@.service")
    done = install("--uninstall")
    assert done.returncode == 0 and "kept:" in done.stdout, done.stderr
    flow = {f"opt/dataflow/flow/{path.name}" for path in WATER.iterdir() if path.is_file() and path.suffix != ".png"}
    assert set(_tree(tmp_path / "root")) == {"etc/dataflow/dataflow.env", *flow}
    assert not enabled.is_symlink()
    assert install("--uninstall", "--purge").returncode == 0
    assert _tree(tmp_path / "root") == {}


def test_a_folder_without_a_flow_is_refused(install: Install, tmp_path: Path) -> None:
    done = install("--flow", tmp_path)
    assert done.returncode == 1 and "there is no flow.yml" in done.stderr


def test_a_flow_with_problems_does_not_replace_a_good_one(install: Install, tmp_path: Path) -> None:
    install("--flow", WATER)
    before = _tree(tmp_path / "root")
    bad = tmp_path / "bad"
    bad.mkdir()
    (bad / "flow.yml").write_text("flow: f\nstreams: {}\nworkers: {w: {}}\n")
    done = install("--flow", bad)
    assert done.returncode == 1 and "has problems" in done.stderr
    assert _tree(tmp_path / "root") == before


SECRETIVE = """
flow: bills
connections:
  main: {redis: "redis://:${REDIS_PASSWORD}@127.0.0.1:24008/0"}
  store: {clickhouse: "clickhouse://writer:${STORE_PASSWORD}@127.0.0.1:19000/bills"}
  tasks: {mongo: "${DATAFLOW_MONGO_URL}"}
hub: {port: "${HUB_PORT:24100}"}
scheduler: {machine: m999}
streams:
  bills.stream_in: {accepts: {task_for: bills, function_type: check}}
edges:
  archive: {kind: s2ch, from: bills.stream_in, to: store.bills, task: external}
"""
BARE = {"HOME": "/root", "PATH": "/usr/bin:/bin"}


def _flow(folder: Path, text: str) -> Path:
    folder.mkdir()
    (folder / "flow.yml").write_text(text)
    return folder


def test_variables_are_those_of_the_services(install: Install, tmp_path: Path) -> None:
    flow = _flow(tmp_path / "flow", SECRETIVE)
    done = install("--flow", flow, environ={**BARE, "REDIS_PASSWORD": "of this shell", "HUB_PORT": "no number"})
    assert done.returncode == 0, done.stderr
    assert "not set there yet: REDIS_PASSWORD, STORE_PASSWORD, DATAFLOW_MONGO_URL)" in done.stdout
    assert "dataflow-sync-api dataflow-scheduler\n" in done.stdout
    addresses = tmp_path / "root/etc/dataflow/dataflow.env"
    addresses.write_text(
        "# servers\n\nREDIS_PASSWORD='a%20b%23c'\nSTORE_PASSWORD=s\n; old\nDATAFLOW_MONGO_URL=\"mongodb://db/flask_aps\"\n"
    )
    done = install("--flow", flow, environ=BARE)
    assert done.returncode == 0 and "not set" not in done.stdout, done.stderr
    addresses.write_text("HUB_PORT=70000\nDATAFLOW_MONGO_URL='redis://db'\n")
    done = install("--flow", flow, environ=BARE)
    assert done.returncode == 1
    assert "F108 connections.tasks.mongo" in done.stderr and "F105 hub.port" in done.stderr, "every problem is told"
    assert "Traceback" not in done.stderr and "F012" not in done.stderr


@pytest.mark.parametrize(
    ("line", "says"), [("X='never closed", "X cannot be read"), ("just words", "that is not NAME='value'")]
)
def test_an_environment_file_that_cannot_be_read_is_told(
    install: Install, tmp_path: Path, line: str, says: str
) -> None:
    install()
    (tmp_path / "root/etc/dataflow/dataflow.env").write_text(f"A=1\n{line}\n")
    done = install("--flow", _flow(tmp_path / "flow", SECRETIVE))
    assert done.returncode == 1 and f"dataflow.env, line 2: {says}" in done.stderr


def test_others_can_reach_what_it_installs_whatever_the_umask(install: Install, tmp_path: Path) -> None:
    root = tmp_path / "root"
    for _ in range(2):
        assert install("--flow", WATER, umask=0o077).returncode == 0
        for path in [*(root / "opt").rglob("*"), *(root / "usr").rglob("*"), root / "opt", root / "usr"]:
            readable = 0o005 if path.is_dir() or path.stat().st_mode & 0o100 else 0o004
            assert path.stat().st_mode & 0o007 == readable, path
        assert (root / "etc/dataflow/dataflow.env").stat().st_mode & 0o777 == 0o600
        for path in (root / "opt/dataflow", root / "opt/dataflow/venv"):  # as it was once made
            path.chmod(0o700)


def test_the_folder_that_it_installs_to_is_refused(install: Install, tmp_path: Path) -> None:
    install("--flow", WATER)
    done = install("--flow", tmp_path / "root/opt/dataflow/flow")
    assert done.returncode == 1 and "name another one" in done.stderr


def test_it_tells_who_may_run_it(install: Install) -> None:
    done = install("--root", "/", "--python", "/root/bin/python3")
    assert done.returncode == 1 and ("needs root" in done.stderr or "home folder" in done.stderr)
