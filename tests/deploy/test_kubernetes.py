"""The manifests: valid by the schemas of Kubernetes, and in step with the program."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from dataflow.cli import COMMANDS
from dataflow.flow.load import load
from dataflow.flow.spec import Scheduler, SyncApi
from dataflow.settings import PREFIX, Settings
from dataflow.store.keys import Keys
from dataflow.store.redis import call, connect
from dataflow.testing.servers import RedisServer
from dataflow.up.redis_server import binaries, version
from tests.deploy.units import ROOT
from tests.redis_users.roles import role_of_command

FOLDER = ROOT / "deploy" / "kubernetes"
FLOW = load(ROOT / "examples" / "water" / "flow.yml")
VERSIONS = ["1.28", "1.31", "1.34"]

# https://keda.sh: what a redis-streams trigger may be told.
TRIGGER = {
    "address", "host", "port", "usernameFromEnv", "passwordFromEnv", "stream", "consumerGroup", "pendingEntriesCount",
    "streamLength", "lagCount", "activationLagCount", "enableTLS", "unsafeSsl", "databaseIndex", "addressFromEnv",
    "hostFromEnv", "portFromEnv",
}  # fmt: skip


def _documents() -> Iterator[tuple[str, dict[str, Any]]]:
    for path in sorted(FOLDER.glob("*.yaml")):
        for document in yaml.safe_load_all(path.read_text(encoding="utf-8")):
            yield f"{path.stem}-{document['kind']}-{document.get('metadata', {}).get('name', '')}", document


DOCUMENTS = dict(_documents())
KUSTOMIZATION = DOCUMENTS["kustomization-Kustomization-"]
OF_KUBERNETES = {
    name: one
    for name, one in DOCUMENTS.items()
    if "keda" not in one["apiVersion"] and "kustomize" not in one["apiVersion"]
}
PODS = {
    name: one["spec"]["template"]["spec"]
    for name, one in DOCUMENTS.items()
    if one["kind"] in ("Deployment", "StatefulSet")
}
CONTAINERS = {
    f"{name}-{container['name']}": container
    for name, pod in PODS.items()
    for container in [*pod.get("initContainers", []), *pod["containers"]]
}
OURS = {name: container for name, container in CONTAINERS.items() if container["image"] == "dataflow"}
SERVICES = {name: container for name, container in OURS.items() if "args" in container}
"""Beside them there is a pod in which an operator runs commands."""
STOP_S = {"hub": 20, "sync-api": 20, "sync": 35, "scheduler": 20, "worker": 300}


def _parses(arguments: list[str]) -> None:
    command = COMMANDS[arguments[0]].load()
    command.make_context(arguments[0], [str(FLOW.path) if word == "flow.yml" else word for word in arguments[1:]])


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("name", OF_KUBERNETES)
def test_the_schemas_accept_it(name: str, version: str) -> None:
    kubernetes_validate.validate(OF_KUBERNETES[name], version, strict=True)


def test_the_schemas_can_refuse() -> None:
    broken = {**OF_KUBERNETES["hub-Deployment-hub"], "spec": {"replicas": "two"}}
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(broken, VERSIONS[-1], strict=True)


@pytest.mark.parametrize("name", SERVICES)
def test_commands_are_ours(name: str) -> None:
    _parses(OURS[name]["args"])
    probe = OURS[name].get("readinessProbe", {}).get("exec")
    if probe:
        assert probe["command"][0] == "dataflow"
        _parses(probe["command"][1:])


@pytest.mark.parametrize("name", PODS)
def test_pods_run_without_rights(name: str) -> None:
    pod = PODS[name]
    assert pod["securityContext"]["runAsNonRoot"] and pod["automountServiceAccountToken"] is False
    for container in [*pod.get("initContainers", []), *pod["containers"]]:
        context = container["securityContext"]
        assert context["readOnlyRootFilesystem"] and not context["allowPrivilegeEscalation"]
        assert context["capabilities"] == {"drop": ["ALL"]}
        assert container["resources"]["limits"]["memory"] and container["resources"]["requests"]


@pytest.mark.parametrize("name", [name for name in PODS if name.split("-")[0] not in ("redis", "operator")])
def test_pods_get_the_time_they_need(name: str) -> None:
    kind = PODS[name]["containers"][0]["args"][0]
    assert PODS[name]["terminationGracePeriodSeconds"] > STOP_S[kind]


def test_the_example_flow_is_served_whole() -> None:
    commands = [container["args"] for container in SERVICES.values()]
    assert {words[2] for words in commands if words[0] == "worker"} == set(FLOW.workers)
    assert {"apply", "hub", "sync", "sync-api", "scheduler"} <= {words[0] for words in commands}


def test_ports_are_the_defaults() -> None:
    ports = {name: one["spec"]["ports"][0]["port"] for name, one in DOCUMENTS.items() if one["kind"] == "Service"}
    assert ports == {
        "hub-Service-hub": FLOW.hub_port,
        "sync-api-Service-sync-api": SyncApi().port,
        "scheduler-Service-scheduler": Scheduler().port,
        "redis-Service-redis": 6379,
    }
    assert OURS["hub-Deployment-hub-hub"]["ports"][0]["containerPort"] == FLOW.hub_port


def test_variables_are_ones_that_we_read() -> None:
    ours = {PREFIX + name.upper() for name in Settings.model_fields}
    assert set(DOCUMENTS["config-ConfigMap-dataflow"]["data"]) <= ours
    addresses = {"DATAFLOW_CLICKHOUSE_URL", "DATAFLOW_MONGO_URL"}
    assert set(DOCUMENTS["secret.example-Secret-dataflow"]["stringData"]) == addresses


@pytest.fixture
def made(tmp_path: Path) -> Path:
    """The folder of the manifests with users that were made anew."""
    folder = tmp_path / "deploy" / "kubernetes"
    shutil.copytree(FOLDER, folder, ignore=shutil.ignore_patterns("redis-users*"))
    shutil.copytree(ROOT / "deploy" / "redis", tmp_path / "deploy" / "redis")
    subprocess.run([folder / "new-secrets", "water"], check=True, capture_output=True)
    return folder


def test_what_secrets_are_made_of_is_there(made: Path) -> None:
    for secret in KUSTOMIZATION["secretGenerator"]:
        for file in [*secret.get("envs", []), *secret.get("files", [])]:
            assert (made / file.rpartition("=")[2]).read_text()
    again = subprocess.run([made / "new-secrets"], check=False, capture_output=True, text=True)
    assert again.returncode == 1 and "stays as it is" in again.stderr


@pytest.mark.integration
@pytest.mark.parametrize("name", OURS)
def test_each_service_logs_in_as_its_own_user(name: str, made: Path) -> None:
    container = OURS[name]
    role = role_of_command(["dataflow", *container["args"]]) if "args" in container else "operator"
    (secret,) = [one for one in KUSTOMIZATION["secretGenerator"] if one["name"] == f"redis-{role}"]
    assert container["envFrom"][-1] == {"secretRef": {"name": secret["name"]}}
    url = (made / secret["envs"][0]).read_text().strip().removeprefix("DATAFLOW_REDIS_URL=")
    with _redis_of(made) as server, connect(url.replace("@redis:6379", f"@127.0.0.1:{server.port}")) as client:
        assert f" user=water.{role} " in call(client, "CLIENT", "INFO").decode()


@pytest.mark.integration
def test_the_scaler_and_the_probes_log_in(made: Path) -> None:
    told = DOCUMENTS["scaling-TriggerAuthentication-redis"]["spec"]["secretTargetRef"]
    (secret,) = [one for one in KUSTOMIZATION["secretGenerator"] if one["name"] == told[0]["name"]]
    files = dict(file.split("=") for file in secret["files"])
    user, password = [(made / files[part["key"]]).read_text() for part in told]
    (redis,) = PODS["redis-StatefulSet-redis"]["containers"]
    with _redis_of(made) as server:
        with connect(f"redis://{user}:{password}@127.0.0.1:{server.port}/0") as client:
            assert call(client, "XLEN", told_stream()) == 0
        for probe in ("startupProbe", "readinessProbe"):
            words = redis[probe]["exec"]["command"][2].replace("redis-cli", f"redis-cli -p {server.port}", 1)
            assert subprocess.run(words, shell=True, check=False).returncode == 0


def told_stream() -> str:
    """The stream that the scaler looks at."""
    triggers = DOCUMENTS["scaling-ScaledObject-worker-anomaly"]["spec"]["triggers"]
    return str(triggers[0]["metadata"]["stream"])


@contextmanager
def _redis_of(made: Path) -> Iterator[RedisServer]:
    """A server with the users and the settings of redis.yaml, but for where its files are."""
    lines = DOCUMENTS["redis-ConfigMap-redis"]["data"]["redis.conf"].splitlines()
    settings = dict(line.split(" ", 1) for line in lines if not line.startswith("dir"))
    (container,) = PODS["redis-StatefulSet-redis"]["containers"]
    mounts = {mount["name"]: mount["mountPath"] for mount in container["volumeMounts"]}
    assert settings["aclfile"] == f"{mounts['users']}/users.acl"
    users = made / "users.acl"
    users.touch()
    with RedisServer(max(binaries(), key=version), settings | {"aclfile": str(users)}) as server:
        shutil.copy(made / "redis-users" / "users.acl", users)  # it is started by a user who may do anything
        with server.client() as client:
            client.execute_command("ACL", "LOAD")
        yield server


def test_what_is_named_is_there() -> None:
    names = {(one["kind"], one["metadata"]["name"]) for one in OF_KUBERNETES.values()}
    names |= {("Secret", one["name"]) for one in KUSTOMIZATION["secretGenerator"]}
    for container in OURS.values():
        for source in container["envFrom"]:
            ((key, value),) = source.items()
            assert ({"configMapRef": "ConfigMap", "secretRef": "Secret"}[key], value["name"]) in names
    for name, one in DOCUMENTS.items():
        if one["kind"] in ("Service", "PodDisruptionBudget"):
            selector = one["spec"]["selector"]
            label = selector.get("matchLabels", selector)["app.kubernetes.io/name"]
            assert {("Deployment", label), ("StatefulSet", label)} & names, name
    listed = set(KUSTOMIZATION["resources"])
    assert {path.name for path in FOLDER.glob("*.yaml")} - listed == {
        "kustomization.yaml", "secret.example.yaml", "scaling.yaml",
    }  # fmt: skip


def test_the_scaler_looks_at_the_stream_of_the_worker() -> None:
    scaled = DOCUMENTS["scaling-ScaledObject-worker-anomaly"]["spec"]
    assert scaled["scaleTargetRef"]["name"] in {
        one["metadata"]["name"] for one in OF_KUBERNETES.values() if one["kind"] == "Deployment"
    }
    measures = set()
    for trigger in scaled["triggers"]:
        told = trigger["metadata"]
        assert trigger["type"] == "redis-streams" and set(told) <= TRIGGER
        assert told["stream"] == Keys(FLOW.name).stream(FLOW.workers["anomaly"].source).stream
        assert told["consumerGroup"] == "anomaly" and all(isinstance(value, str) for value in told.values())
        measures |= set(told) & {"lagCount", "pendingEntriesCount", "streamLength"}
        assert f"scaling-TriggerAuthentication-{trigger['authenticationRef']['name']}" in DOCUMENTS
    assert measures == {"lagCount", "pendingEntriesCount"}


def test_secrets_are_never_committed() -> None:
    ignored = (ROOT / ".gitignore").read_text().splitlines()
    assert {"deploy/kubernetes/secret.yaml", "deploy/kubernetes/redis-users/"} <= set(ignored)
