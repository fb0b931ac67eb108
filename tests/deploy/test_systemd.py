"""The units: what systemd says about them, and their commands as processes on real servers."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest

from dataflow import warehouse
from dataflow.cli import COMMANDS
from dataflow.settings import PREFIX, Settings
from dataflow.testing.mongo import MongoServer
from dataflow.testing.servers import ClickHouseServer, RedisServer
from dataflow.up.ports import free_port
from tests.acceptance.project import eventually
from tests.deploy.conftest import Install
from tests.deploy.units import COMMON, SYSTEMD, UNITS, Unit, read_environment, relocated, start
from tests.redis_users.plugin import NEW_USERS
from tests.redis_users.roles import role_of_command

EXPOSURE = 20  # tenths: what systemd calls OK ends at 4.9
STOP_S = {"hub": 20, "sync-api": 20, "sync": 35, "scheduler": 20, "worker": 300}
"""What the programs themselves allow for work in hand."""
FLOW = """
flow: deployed
hub: {{port: {hub}}}
scheduler: {{port: {scheduler}}}
sync: {{port: {sync}}}
streams:
  meter.stream_in:
    accepts: {{task_for: t, function_type: f}}
    schema: {{rec_id: str, task_for: str, function_type: str, n: int}}
  meter.stream_out: {{schema: {{rec_id: str, twice: int}}}}
workers:
  double: {{from: meter.stream_in, to: meter.stream_out, handler: "steps:double"}}
edges:
  archive: {{kind: s2ch, from: meter.stream_out, to: warehouse.doubled, create_table: true, task: {{second: "*"}}}}
"""
STEPS = """
def double(message):
    return {"rec_id": message["rec_id"], "twice": message["n"] * 2}
"""


@pytest.fixture(params=UNITS, ids=lambda path: path.name)
def unit(request: pytest.FixtureRequest) -> Unit:
    return Unit(request.param)


def test_every_command_is_one_of_ours(unit: Unit) -> None:
    program, name, *arguments = unit.command("anomaly")
    assert program == "/opt/dataflow/venv/bin/dataflow"
    command = COMMANDS[name].load()
    command.make_context(name, [SYSTEMD.as_posix() + "/sysusers.conf" if a.endswith(".yml") else a for a in arguments])


def test_long_running_services_come_back_and_get_the_time_they_need(unit: Unit) -> None:
    kind = unit.command()[1]
    if kind == "apply":
        assert (unit.get("Type"), unit.get("Restart")) == ("oneshot", "on-failure")
        return
    assert unit.get("Restart") == "always"
    assert int(unit.get("TimeoutStopSec")) > STOP_S[kind]
    assert unit.get("KillMode") == "mixed", "the parent first: it ends its children in good order"


def test_restarting_never_gives_up_because_of_a_server_that_is_away(unit: Unit) -> None:
    starts = float(unit.get("StartLimitIntervalSec")) / float(unit.get("RestartSec"))
    assert starts < int(unit.get("StartLimitBurst"))


def test_the_environment_is_what_we_read() -> None:
    ours = {PREFIX + name.upper() for name in Settings.model_fields}
    flow_files = {"DATAFLOW_REDIS_URL", "DATAFLOW_CLICKHOUSE_URL", "DATAFLOW_MONGO_URL", "DATAFLOW_BROKER_URL"}
    example = (SYSTEMD / "dataflow.env.example").read_text()
    named = {line.lstrip("#").partition("=")[0] for line in example.splitlines() if line.lstrip("#").startswith(PREFIX)}
    assert flow_files <= named <= flow_files | ours
    assert {name for name in Unit(UNITS[0]).environment if name.startswith(PREFIX)} <= ours
    assert read_environment(SYSTEMD / "dataflow.env.example")["DATAFLOW_REDIS_URL"] == "redis://127.0.0.1:6379/0"


def test_a_service_logs_in_to_redis_as_its_role(unit: Unit, tmp_path: Path) -> None:
    """What the unit reads is what new-users makes; dataflow-apply has the operator's address, as the command has."""
    kind = unit.command("anomaly")[1]
    common, own = unit.environment_files
    assert common == "/etc/dataflow/dataflow.env" and own == f"-/etc/dataflow/redis/dataflow-{kind}.env"
    subprocess.run([NEW_USERS, "f", tmp_path / "redis", "redis://h:1/0"], check=True, capture_output=True)
    made = tmp_path / "redis" / Path(own).name
    role = role_of_command(["dataflow", *unit.command("anomaly")[1:]])
    assert made.exists() == (role != "operator")
    if made.exists():
        url = read_environment(made)["DATAFLOW_REDIS_URL"]
        assert url.startswith(f"redis://f.{role}:") and url.endswith("@h:1/0")
        assert f"user f.{role} on #" in (tmp_path / "redis" / "users.acl").read_text()


@pytest.fixture
def unit_files(tmp_path: Path) -> Path:
    """The units with a program that is there, for systemd wants to see it."""
    program = tmp_path / "program"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    for path in (*UNITS, SYSTEMD / "dataflow.target", COMMON):
        copy = tmp_path / path.relative_to(SYSTEMD)
        copy.parent.mkdir(exist_ok=True)
        copy.write_text(path.read_text().replace("/opt/dataflow/venv/bin/dataflow", str(program)))
    return tmp_path


@pytest.mark.acceptance
def test_systemd_finds_nothing_wrong(unit_files: Path) -> None:
    done = _analyze(unit_files, "verify", *sorted(unit_files.glob("*.service")), unit_files / "dataflow.target")
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


@pytest.mark.acceptance
def test_systemd_finds_them_hardly_exposed(unit_files: Path) -> None:
    services = sorted(unit_files.glob("*.service"))
    done = _analyze(unit_files, "security", "--offline=true", f"--threshold={EXPOSURE}", "--no-pager", *services)
    said = [line for line in done.stdout.splitlines() if "Overall exposure" in line]
    assert done.returncode == 0 and len(said) == len(services), said or done.stderr


def _analyze(folder: Path, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["systemd-analyze", *arguments], capture_output=True, text=True, timeout=60, check=False,
        env={"PATH": "/usr/bin:/bin", "SYSTEMD_UNIT_PATH": f"{folder}:"},
    )  # fmt: skip


class Deployment:
    """The installed services, started by hand in the order that systemd would."""

    def __init__(self, root: Path, stack: ExitStack) -> None:
        self.root = root
        self._stack = stack
        self.running: dict[str, subprocess.Popen[bytes]] = {}

    def apply(self) -> None:
        """dataflow-apply, to its end."""
        process = start(Unit(SYSTEMD / "dataflow-apply.service"), self.root)
        assert process.wait(timeout=60) == 0, self.logs()

    def start(self, name: str, instance: str = "") -> None:
        """One service; ended with the test."""
        process = start(Unit(SYSTEMD / f"{name}.service"), self.root, instance)
        self._stack.callback(_end, process)
        self.running[name] = process

    def tool(self, *arguments: str) -> str:
        """The installed command `dataflow`, as an operator uses it."""
        found = self._run(*arguments)
        assert found.returncode == 0, found.stdout + found.stderr
        return found.stdout

    def refused(self, *arguments: str) -> str:
        """What it says when it fails."""
        found = self._run(*arguments)
        assert found.returncode == 1, found.stdout + found.stderr
        return found.stderr

    def _run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [self.root / "usr/local/bin/dataflow", *arguments], capture_output=True, text=True, timeout=60, check=False
        )

    def logs(self) -> str:
        """Everything that was logged."""
        return "\n".join(f"--- {path.name}\n{path.read_text()[-3000:]}" for path in self.root.parent.glob("*.log"))


def _end(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        process.kill()
        process.wait()


@pytest.fixture
def deployment(
    install: Install, tmp_path: Path, own_redis: RedisServer, own_clickhouse: ClickHouseServer, mongo: MongoServer
) -> Iterator[tuple[Deployment, dict[str, int]]]:
    ports = {"hub": free_port(), "scheduler": free_port(), "sync": free_port()}
    flow = tmp_path / "flow"
    flow.mkdir()
    (flow / "flow.yml").write_text(FLOW.format(**ports))
    (flow / "steps.py").write_text(STEPS)
    done = install("--flow", flow)
    assert done.returncode == 0, done.stderr
    assert "dataflow-sync-api dataflow-scheduler dataflow-worker@double" in done.stdout
    root = tmp_path / "root"
    (root / "var/lib/dataflow").mkdir(parents=True)
    (root / "etc/dataflow/dataflow.env").write_text(
        f"DATAFLOW_REDIS_URL='{own_redis.url}'\nDATAFLOW_CLICKHOUSE_URL='{own_clickhouse.writer_url}'\n"
        f"DATAFLOW_MONGO_URL='{mongo.url}'\nDATAFLOW_LOG_FORMAT='json'\n"
    )
    _users(root / "etc/dataflow", own_redis)
    with ExitStack() as stack:
        yield Deployment(root, stack), ports


def _users(folder: Path, redis: RedisServer) -> None:
    """A user of Redis for each role, from the version on that can have them."""
    if redis.version < (7,):
        return
    subprocess.run([NEW_USERS, "deployed", folder / "redis", redis.url], check=True, capture_output=True)
    with redis.client() as client:
        for line in (folder / "redis/users.acl").read_text().splitlines()[1:]:
            client.execute_command("ACL", "SETUSER", *line.split()[1:])
    operator = read_environment(folder / "redis/dataflow-operator.env")["DATAFLOW_REDIS_URL"]
    everybody = folder / "dataflow.env"
    everybody.write_text(everybody.read_text().replace(redis.url, operator))


@pytest.mark.acceptance
def test_the_installed_services_carry_messages_and_end_in_good_order(
    deployment: tuple[Deployment, dict[str, int]], own_clickhouse: ClickHouseServer, own_redis: RedisServer
) -> None:
    services, ports = deployment
    services.apply()
    before = _files(services.root)
    services.start("dataflow-sync")
    services.start("dataflow-sync-api")
    services.start("dataflow-scheduler")
    services.start("dataflow-worker@", "double")
    services.start("dataflow-hub")
    eventually("the hub is ready", lambda: _ready(ports["hub"]))
    eventually("the sync API is ready", lambda: _ready(ports["sync"]))
    eventually("the scheduler is ready", lambda: _ready(ports["scheduler"]))
    sent = [{"rec_id": str(n), "task_for": "t", "function_type": "f", "n": n} for n in range(20)]
    httpx.post(f"http://127.0.0.1:{ports['hub']}/message_hub/", json=sent, trust_env=False).raise_for_status()
    target = warehouse.connect(own_clickhouse.writer_url)
    eventually("all rows", lambda: _rows(target) == [{"n": 20, "total": 380}])
    with own_redis.client() as client:
        users = {client["user"] for client in client.client_list()} - {"default"}
    roles = ("hub", "worker", "sync", "sync-api", "scheduler")
    assert users == {f"deployed.{role}" for role in roles} or own_redis.version < (7,)
    assert '"deployed"' in services.tool("status", "--json")
    for words in (["hub"], ["scheduler"], ["sync-api"], ["sync"], ["worker", "double"]):
        services.tool("probe", *words)
    assert _files(services.root) == before, "services write to their state folder alone"
    for name in ("dataflow-hub", "dataflow-sync-api", "dataflow-worker@", "dataflow-scheduler", "dataflow-sync"):
        process = services.running[name]
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=60) == 0, f"{name}: {services.logs()}"
        words = [name.removeprefix("dataflow-").rstrip("@"), *(["double"] if name.endswith("@") else [])]
        why = services.refused("probe", *words)
        assert "on this machine" in why or "does not answer" in why
    assert "clean" in services.tool("audit").lower(), services.logs()


def _ready(port: int) -> bool:
    try:
        return httpx.get(f"http://127.0.0.1:{port}/readyz", trust_env=False, timeout=10).status_code == 200
    except httpx.HTTPError:
        return False


def _rows(target: warehouse.Warehouse) -> list[dict[str, Any]]:
    try:
        return target.rows("SELECT count() AS n, sum(twice) AS total FROM doubled")
    except warehouse.QueryFailed:
        return []


def _files(root: Path) -> set[tuple[str, float]]:
    state = root / "var/lib/dataflow"
    files = [path for path in root.rglob("*") if path.is_file() and not path.is_relative_to(state)]
    return {(str(path), path.stat().st_mtime) for path in files}


def test_commands_can_be_moved_below_a_folder() -> None:
    words = relocated(Unit(SYSTEMD / "dataflow-worker@.service").command("double"), Path("/x"))
    assert words == ["/x/opt/dataflow/venv/bin/dataflow", "worker", "/x/opt/dataflow/flow/flow.yml", "double"]
