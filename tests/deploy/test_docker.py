"""The image and compose.yaml: there is no engine here, so what they say is checked against the program."""

from __future__ import annotations

import hashlib
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml

from dataflow.cli import COMMANDS
from dataflow.clickhouse.address import ServerAddress
from dataflow.flow.load import load
from dataflow.flow.spec import Scheduler, SyncApi
from dataflow.settings import PREFIX, Settings
from dataflow.testing.servers import RedisServer
from dataflow.up.redis_server import binaries, version
from tests.deploy.units import ROOT
from tests.redis_users.roles import role_of_command

DOCKER = ROOT / "docker"
DOCKERFILE = (DOCKER / "Dockerfile").read_text(encoding="utf-8")
COMPOSE: dict[str, Any] = yaml.safe_load((DOCKER / "compose.yaml").read_text(encoding="utf-8"))
SERVICES: dict[str, Any] = COMPOSE["services"]
OURS = {name: service for name, service in SERVICES.items() if service["image"] == "dataflow"}
SERVERS = {name: service for name, service in SERVICES.items() if name not in OURS}
WATER = ROOT / "examples" / "water" / "flow.yml"
NEEDY = """
flow: f
streams: {a.stream_in: {accepts: {task_for: t, function_type: f}, keep: {messages: 5}}}
"""
ADDRESSES = {"DATAFLOW_REDIS_URL", "DATAFLOW_CLICKHOUSE_URL", "DATAFLOW_MONGO_URL"}


def _parses(arguments: list[str]) -> None:
    """The command line is one that the program understands."""
    command = COMMANDS[arguments[0]].load()
    command.make_context(arguments[0], [str(WATER) if word == "flow.yml" else word for word in arguments[1:]])


@pytest.fixture
def docker(tmp_path: Path) -> Path:
    """The folder `docker` with secrets that were made anew."""
    folder = tmp_path / "docker"
    shutil.copytree(DOCKER, folder, ignore=shutil.ignore_patterns("secrets*"))
    shutil.copytree(ROOT / "deploy" / "redis", tmp_path / "deploy" / "redis")
    subprocess.run([folder / "new-secrets"], check=True, capture_output=True)
    return folder


def _variables(path: Path) -> dict[str, str]:
    return dict(line.split("=", 1) for line in path.read_text().splitlines())


def _environment(docker: Path, service: Mapping[str, Any]) -> dict[str, str]:
    """What a service gets of its files; a later one wins."""
    return {name: value for file in service["env_file"] for name, value in _variables(docker / file).items()}


@pytest.mark.acceptance
def test_the_linter_has_nothing_to_say() -> None:
    linter = Path(sys.executable).with_name("hadolint")
    done = subprocess.run([linter, DOCKER / "Dockerfile"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")


def test_the_image_runs_as_a_user_without_rights_and_holds_every_package() -> None:
    assert re.search(r"^USER (\d+):\1$", DOCKERFILE, re.MULTILINE)
    setup = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]
    rooms = {pattern.rstrip("*") for pattern in setup["packages"]["find"]["include"]}
    assert set(re.findall(r"^COPY (\w+) /source/", DOCKERFILE, re.MULTILINE)) == rooms
    ignored = (ROOT / ".dockerignore").read_text().splitlines()
    assert {f"!{name}/" for name in rooms} <= set(ignored)


def test_commands_of_the_image_are_ours() -> None:
    entry, default, health = (
        re.findall(rf"^{word}.*?(\[.*\])$", DOCKERFILE, re.MULTILINE)[-1]
        for word in ("ENTRYPOINT", "CMD", "HEALTHCHECK")
    )
    assert yaml.safe_load(entry) == ["tini", "--", "dataflow"]
    _parses(yaml.safe_load(default))
    program, *arguments = yaml.safe_load(health)
    assert program == "dataflow"
    _parses(arguments)


@pytest.mark.acceptance
def test_what_the_build_runs_runs(tmp_path: Path) -> None:
    """The part that needs neither the network nor Debian's packages."""
    check = re.search(r"&& /opt/dataflow/venv/bin/(dataflow check .+) /opt/dataflow/flow/flow.yml", DOCKERFILE)
    assert check is not None
    needy = tmp_path / "flow.yml"
    needy.write_text("connections: {main: {redis: '${SECRET}'}}\n" + NEEDY)
    for flow in (WATER, needy):
        words = [sys.executable, "-P", "-m", *shlex.split(check[1]), str(flow)]
        environ = {"PYTHONPATH": str(ROOT)}  # a build has none of the services' variables
        done = subprocess.run(words, check=False, capture_output=True, text=True, env=environ)
        assert done.returncode == 0, done.stdout
    assert (WATER.parent / "requirements.txt").exists()


@pytest.mark.parametrize("name", OURS)
def test_commands_of_services_are_ours(name: str) -> None:
    service = OURS[name]
    _parses(service["command"])
    check = service["healthcheck"]
    if not check.get("disable"):
        assert check["test"][:2] == ["CMD", "dataflow"]
        _parses(check["test"][2:])


@pytest.mark.parametrize("name", OURS)
def test_our_services_have_no_rights_and_a_root_that_is_read_only(name: str) -> None:
    service = OURS[name]
    assert service["read_only"] and service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"] and "volumes" not in service


@pytest.mark.parametrize("name", SERVICES)
def test_what_a_service_waits_for_is_there(name: str) -> None:
    for other, how in SERVICES[name].get("depends_on", {}).items():
        assert other in SERVICES
        assert how["condition"] == "service_completed_successfully" or "test" in SERVICES[other]["healthcheck"]


def test_the_example_flow_is_served_whole() -> None:
    flow = load(WATER)
    workers = {service["command"][2] for service in OURS.values() if service["command"][0] == "worker"}
    assert workers == set(flow.workers)
    assert {"apply", "hub", "sync", "sync-api", "scheduler"} <= set(OURS)


def test_ports_are_the_defaults_and_reached_from_this_machine_alone() -> None:
    flow = load(WATER)
    published = {name: service["ports"] for name, service in SERVICES.items() if "ports" in service}
    assert published == {
        "hub": [f"127.0.0.1:{flow.hub_port}:{flow.hub_port}"],
        "sync-api": [f"127.0.0.1:{SyncApi().port}:{SyncApi().port}"],
        "scheduler": [f"127.0.0.1:{Scheduler().port}:{Scheduler().port}"],
    }
    exposed = re.search(r"^EXPOSE (.*)$", DOCKERFILE, re.MULTILINE)
    assert exposed and exposed[1].split() == [str(flow.hub_port), str(Scheduler().port), str(SyncApi().port)]


def test_variables_are_ones_that_we_read(docker: Path) -> None:
    ours = {PREFIX + name.upper() for name in Settings.model_fields}
    image = set(re.findall(rf"\b({PREFIX}\w+)=", DOCKERFILE))
    assert image and image <= ours
    for service in OURS.values():
        assert set(_environment(docker, service)) == ADDRESSES


@pytest.mark.parametrize("name", OURS)
def test_a_service_logs_in_to_redis_as_its_role_and_knows_no_other(name: str, docker: Path) -> None:
    role = role_of_command(["dataflow", *OURS[name]["command"]])
    url = urlsplit(_environment(docker, OURS[name])["DATAFLOW_REDIS_URL"])
    assert (url.username, url.hostname, url.port) == (f"water.{role}", "redis", 6379) and url.password
    digest = hashlib.sha256(url.password.encode()).hexdigest()
    assert f"user water.{role} on #{digest} " in (docker / "secrets/redis/users.acl").read_text()


def test_services_get_the_time_they_need() -> None:
    seconds = {
        name: int(OURS[name]["stop_grace_period"][:-1]) for name in ("hub", "sync", "scheduler", "worker-anomaly")
    }
    assert (
        seconds["hub"] > 20 and seconds["sync"] > 35 and seconds["scheduler"] > 20 and seconds["worker-anomaly"] > 300
    )


@pytest.mark.acceptance
def test_secrets_fit_together_and_are_made_once(docker: Path) -> None:
    urls = _variables(docker / "secrets/dataflow.env")
    server = ServerAddress.read(urls["DATAFLOW_CLICKHOUSE_URL"])
    made = _variables(docker / "secrets/clickhouse.env")
    assert (server.user, server.password, server.database) == (
        made["CLICKHOUSE_USER"], made["CLICKHOUSE_PASSWORD"], made["CLICKHOUSE_DB"],
    )  # fmt: skip
    mongo = _variables(docker / "secrets/mongo.env")
    assert (
        f"{mongo['MONGO_INITDB_ROOT_USERNAME']}:{mongo['MONGO_INITDB_ROOT_PASSWORD']}@mongo:"
        in urls["DATAFLOW_MONGO_URL"]
    )
    passwords = {path.read_text() for path in docker.glob("secrets/redis/*.password")}
    assert len({server.password, mongo["MONGO_INITDB_ROOT_PASSWORD"], *passwords}) == 2 + 7
    assert (docker / "secrets").stat().st_mode & 0o777 == 0o700
    again = subprocess.run([docker / "new-secrets"], check=False, capture_output=True, text=True)
    assert again.returncode == 1 and "stays as it is" in again.stderr
    assert _variables(docker / "secrets/dataflow.env") == urls


def test_secrets_are_never_committed() -> None:
    assert "docker/secrets/" in (ROOT / ".gitignore").read_text().splitlines()


@pytest.mark.integration
def test_the_redis_configuration_is_one_the_doctor_likes(docker: Path, tmp_path: Path) -> None:
    from dataflow.doctor.redis import examine

    lines = (docker / "redis.conf").read_text().splitlines()
    settings = dict(line.split(" ", 1) for line in lines if line and line[0] != "#" and not line.startswith("dir"))
    assert settings["aclfile"] == "/run/secrets/redis_users" and SERVICES["redis"]["secrets"] == ["redis_users"]
    assert COMPOSE["secrets"]["redis_users"] == {"file": "secrets/redis/users.acl"}
    users = tmp_path / "users.acl"
    users.touch()
    with RedisServer(max(binaries(), key=version), settings | {"aclfile": str(users)}) as server:
        shutil.copy(docker / "secrets/redis/users.acl", users)
        with server.client() as client:
            client.execute_command("ACL", "LOAD")
        urls = {path.stem: _variables(path) for path in (docker / "secrets/redis").glob("*.env")}
        operator = urls["dataflow-operator"]["DATAFLOW_REDIS_URL"].replace("@redis:6379", f"@127.0.0.1:{server.port}")
        found = examine("main", operator, "water")
        words = SERVICES["redis"]["healthcheck"]["test"][1].replace("redis-cli", f"redis-cli -p {server.port}", 1)
        assert subprocess.run(words, shell=True, check=False).returncode == 0
    assert {finding.code for finding in found if finding.level == "wrong"} == set()
    assert {finding.code for finding in found if finding.level == "note"} - {"version"} == {"aof"}
    assert settings.get("appendfsync", "everysec") != "no", "which the operator may not ask for"


def test_servers_keep_their_data_and_are_checked() -> None:
    for service in SERVERS.values():
        named = {volume.split(":")[0] for volume in service["volumes"]} & set(COMPOSE["volumes"])
        assert named and "test" in service["healthcheck"] and re.search(r":\d+\.\d+", service["image"])
