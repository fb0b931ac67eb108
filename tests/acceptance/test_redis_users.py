"""A flow whose processes log in to Redis as the users that are shipped: everything works, and no role can do more."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest
import redis
from redis.exceptions import AuthenticationError, NoPermissionError, ResponseError

from dataflow.client import Hub
from dataflow.flow.load import load
from dataflow.flow.spec import Flow
from dataflow.testing.mongo import MongoServer
from dataflow.testing.servers import RedisServer
from dataflow.up.ports import free_port
from dataflow.up.redis_server import binaries, version
from tests.acceptance.project import Project, eventually
from tests.acceptance.site import READY_S, Process, door, runner

pytestmark = pytest.mark.acceptance

NEW_USERS = Path(__file__).parents[2] / "deploy" / "redis" / "new-users"
ROLES = ("hub", "worker", "sync", "sync-api", "scheduler", "operator", "viewer")
SENT = 300

FLOW = """
flow: gates
connections:
  main:  {redis: "${MAIN}"}
  far:   {redis: "${FAR}"}
  tasks: {mongo: "${TASKS}"}
streams:
  meter.stream_in:
    accepts: {task_for: t, function_type: f}
    schema: {rec_id: str, task_for: str, function_type: str, n: int}
  meter.stream_out: {schema: {rec_id: str, twice: int}}
  away.stream_in:   {on: far, schema: {rec_id: str, twice: int}}
  home.stream_in:   {schema: {rec_id: str, twice: int}}
  last.stream_in:   {schema: {rec_id: str, twice: int}, keep: {messages: 1000}}
workers:
  double:
    {from: meter.stream_in, to: meter.stream_out, handler: "steps:double", batch: 20, lease_s: 2, max_attempts: 2}
edges:
  there: {kind: s2s, from: meter.stream_out, to: away.stream_in, batch: 50}
  back:  {kind: s2s, from: away.stream_in, to: home.stream_in, batch: 50, task: {second: "*"}}
  onward: {kind: s2s, from: home.stream_in, to: last.stream_in, task: external}
"""
STEPS = """
def double(message):
    if message["n"] == 13:
        raise ValueError("thirteen")
    return {"rec_id": message["rec_id"], "twice": message["n"] * 2}
"""
ADMIN = "user admin on nopass ~* &* +@all\n"


class Site:
    """The flow `gates`: two Redis servers with the shipped users, MongoDB, and a process per role."""

    def __init__(self, folder: Path, near: RedisServer, far: RedisServer, mongo: MongoServer) -> None:
        self._servers = (near, far)
        self._mongo = mongo
        self._users = folder / "users"
        (folder / "flow").mkdir()
        self.project = Project(folder / "flow", FLOW, STEPS)
        subprocess.run([NEW_USERS, "gates", self._users], check=True, capture_output=True)
        self.let_in()
        self.ports = {name: free_port() for name in ("hub", "sync-api", "scheduler")}
        self.processes = {one.name: one for one in self._processes()}

    def let_in(self) -> None:
        """Let both servers know the users, and one of the test's own."""
        for server in self._servers:
            acl_file = Path(server.settings["aclfile"])
            acl_file.write_text((self._users / "users.acl").read_text() + ADMIN)
            with server.client() as client:
                client.execute_command("ACL", "LOAD")

    def url(self, role: str, server: int = 0) -> str:
        user = "admin" if role == "admin" else f"gates.{role}"
        password = "any" if role == "admin" else (self._users / f"{role}.password").read_text()
        return self._servers[server].url.replace("://", f"://{user}:{password}@")

    def client(self, role: str, server: int = 0) -> redis.Redis:
        return redis.Redis.from_url(self.url(role, server))

    def environment(self, role: str) -> dict[str, str]:
        return {"MAIN": self.url(role), "FAR": self.url(role, 1), "TASKS": self._mongo.url}

    def flow(self, role: str) -> Flow:
        return load(self.project.flow, self.environment(role))

    def _processes(self) -> Iterator[Process]:
        file, folder = str(self.project.flow), self.project.folder
        yield door(folder, "hub", ("hub", file), self.ports["hub"], self.environment("hub"))
        yield door(folder, "sync-api", ("sync-api", file), self.ports["sync-api"], self.environment("sync-api"))
        yield door(folder, "scheduler", ("scheduler", file), self.ports["scheduler"], self.environment("scheduler"))
        for name, arguments in (("worker", ("worker", file, "double")), ("sync", ("sync", file))):
            looked_at = (self.url("viewer"), self.flow("viewer"))
            yield runner(folder, name, arguments, *looked_at, self.environment(name))

    def start(self) -> None:
        self.run("operator", "apply")
        for process in self.processes.values():
            process.start()
        for process in self.processes.values():
            self.wait_for(f"{process.name} is ready", lambda p=process: p.is_ready)  # type: ignore[misc]

    def wait_for(self, what: str, holds: Callable[[], bool]) -> None:
        """Wait until something holds; fail with what the processes and Redis say if it does not."""
        try:
            eventually(what, holds, READY_S)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.refusals()}\n{self.logs()}") from None

    def end(self) -> None:
        for process in self.processes.values():
            process.kill()

    def command(self, role: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-P", "-m", "dataflow", *arguments], cwd=self.project.folder, capture_output=True,
            text=True, timeout=90, env={**os.environ, **self.environment(role)}, check=False,
        )  # fmt: skip

    def run(self, role: str, *arguments: str) -> str:
        done = self.command(role, *arguments)
        assert done.returncode == 0, f"{arguments}: {done.stdout}{done.stderr}"
        return done.stdout

    def length(self, stream: str, server: int = 0) -> int:
        with self.client("viewer", server) as client:
            return int(client.xlen("{gates}:" + stream))

    def refusals(self) -> list[str]:
        """What Redis has refused to users of the flow."""
        found = []
        for server in (0, 1):
            with self.client("admin", server) as client:
                log = client.execute_command("ACL", "LOG")
                found += [str(entry) for entry in log if b"gates." in str(entry).encode()]
        return found

    def logs(self) -> str:
        logs = sorted(self.project.folder.glob("*.log"))
        return "\n".join(f"--- {log.name}\n{log.read_text()[-2000:]}" for log in logs)


@pytest.fixture
def site(tmp_path: Path, own_mongo: MongoServer) -> Iterator[Site]:
    newest = max(binaries(), key=version)
    with ExitStack() as stack:
        servers = []
        for name in ("near", "far"):
            acl_file = tmp_path / f"{name}.acl"
            acl_file.touch()
            servers.append(stack.enter_context(RedisServer(newest, settings={"aclfile": str(acl_file)})))
        site = Site(tmp_path, servers[0], servers[1], own_mongo)
        stack.callback(site.end)
        yield site


def test_a_flow_runs_with_a_user_for_each_role(site: Site) -> None:
    site.start()
    token = site.run("operator", "key", "new", "gateway", "--scope", "produce", "--scope", "operate", "--rate", "500")
    key = {"Authorization": f"Bearer {token.strip()}"}
    _send(site, token.strip(), 0)
    site.processes["worker"].kill()
    _send(site, token.strip(), SENT)
    site.processes["worker"].start()
    site.wait_for("a dead letter", lambda: site.length("meter.stream_in:dead:double") == 1)
    site.run("operator", "dlq", "replay", "double", "--all")
    site.wait_for("the dead letter is dead again", lambda: site.length("meter.stream_in:dead:double") == 1)
    site.wait_for("all went there and back", lambda: site.length("home.stream_in") == 2 * SENT - 1)
    _run_by_hand(site, key)
    assert site.length("last.stream_in") == 2 * SENT - 1
    for words in (("pause_a_task", "back"), ("resume_a_task", "back")):
        url = f"http://127.0.0.1:{site.ports['scheduler']}/{words[0]}/"
        answer = httpx.post(url, json={"task_id": words[1]}, headers=key, trust_env=False)
        assert answer.status_code == 200, answer.text
    for looking in (
        ("status",),
        ("audit",),
        ("history",),
        ("dlq", "ls"),
        ("tail", "last.stream_in", "--no-follow", "-n", "5"),
        ("key", "ls"),
    ):
        site.run("viewer", *looking)
    assert "pause" in site.run("viewer", "history")
    doctor = site.command("operator", "doctor").stdout
    assert "every command that a flow needs may be run" in doctor, doctor
    assert site.refusals() == []


def _send(site: Site, token: str, first: int) -> None:
    with Hub(f"http://127.0.0.1:{site.ports['hub']}", key=token) as hub:
        hub.send({"rec_id": f"r{n}", "task_for": "t", "function_type": "f", "n": n} for n in range(first, first + SENT))


def _run_by_hand(site: Site, key: dict[str, str]) -> None:
    url = f"http://127.0.0.1:{site.ports['sync-api']}"
    with httpx.Client(base_url=url, headers=key, timeout=60, trust_env=False) as http:
        run = http.post("/edges/onward/run", json={})
        assert run.status_code < 300, run.text
        result = http.get(f"/get_result/{run.text.strip()}")
        assert result.status_code == 200, result.text


LIBRARY = "#!lua name=planted\nredis.register_function('planted', function() return 1 end)"
FORBIDDEN: list[tuple[str, tuple[Any, ...]]] = [
    *((role, ("DEL", "{gates}:meter.stream_in")) for role in ROLES if role != "operator"),
    *((role, ("GET", "{other}:live")) for role in ROLES),
    *((role, ("XADD", "{other}:meter.stream_in", "*", "a", "1")) for role in ROLES),
    *((role, ("CONFIG", "SET", "maxmemory", "1")) for role in ROLES),
    *((role, (name,)) for role in ROLES for name in ("FLUSHALL", "FLUSHDB", "SHUTDOWN", "MONITOR", "SAVE")),
    *((role, ("ACL", "SETUSER", f"gates.{role}", "+@all")) for role in ROLES),
    *((role, ("KEYS", "*")) for role in ROLES),
    *((role, ("CONFIG", "GET", "masterauth")) for role in ROLES),
    *((role, ("CONFIG", "GET", "*")) for role in ROLES),
    *((role, ("CONFIG", word)) for role in ROLES for word in ("RESETSTAT", "REWRITE")),
    *((role, ("SCRIPT", word)) for role in ROLES for word in ("FLUSH", "KILL")),
    *((role, ("SCRIPT", "LOAD", "return 1")) for role in ROLES if role != "sync"),
    *((role, ("FUNCTION", word)) for role in ROLES for word in ("FLUSH", "KILL", "LIST", "DUMP", "STATS")),
    *((role, ("FUNCTION", "LOAD", LIBRARY)) for role in ROLES),
    *((role, ("FUNCTION", "LOAD", "REPLACE", LIBRARY)) for role in ROLES),
    *((role, ("FUNCTION", "DELETE", "planted")) for role in ROLES),
    *((role, ("FUNCTION", "RESTORE", "x")) for role in ROLES),
    *((role, ("FCALL", "planted", 0)) for role in ROLES),
    *((role, ("SWAPDB", 0, 1)) for role in ROLES),
    *((role, ("REPLICAOF", "NO", "ONE")) for role in ROLES),
    *((role, ("CLIENT", "KILL", "TYPE", "normal")) for role in ROLES),
    *((role, ("HSET", "{gates}:access:keys", "x", "y")) for role in ROLES if role != "operator"),
    *((role, ("HSET", "{gates}:flow", "digest", "y")) for role in ROLES if role != "operator"),
    *((role, ("SET", "{gates}:anything", "y")) for role in ROLES if role != "operator"),
    ("hub", ("XTRIM", "{gates}:meter.stream_in", "MAXLEN", 0)),
    ("hub", ("XDEL", "{gates}:meter.stream_in", "1-1")),
    ("hub", ("XREADGROUP", "GROUP", "double", "me", "STREAMS", "{gates}:meter.stream_in", ">")),
    ("hub", ("HSET", "{gates}:edge:there", "epoch", 9)),
    ("hub", ("LPUSH", "dataflow.gates", "{}")),
    ("worker", ("HSET", "{gates}:edge:there", "epoch", 9)),
    ("worker", ("HSET", "{gates}:scheduler:m", "nonce", "n")),
    ("worker", ("LPUSH", "dataflow.gates", "{}")),
    ("worker", ("GET", "celery-task-meta-x")),
    ("scheduler", ("XADD", "{gates}:meter.stream_in", "*", "a", "1")),
    ("scheduler", ("HSET", "{gates}:edge:there", "epoch", 9)),
    ("sync-api", ("XADD", "{gates}:meter.stream_in", "*", "a", "1")),
    ("sync-api", ("HSET", "{gates}:edge:there", "epoch", 9)),
    ("sync-api", ("BRPOP", "dataflow.gates", 1)),
    ("sync", ("HSET", "{gates}:scheduler:m", "nonce", "n")),
    ("viewer", ("XADD", "{gates}:meter.stream_in", "*", "a", "1")),
    ("viewer", ("HSET", "{gates}:live", "a", "1")),
    ("viewer", ("EXPIRE", "{gates}:live", "1")),
    ("viewer", ("XACK", "{gates}:meter.stream_in", "double", "1-1")),
]


def test_no_role_can_do_what_is_not_its_own(site: Site) -> None:
    for role, command in FORBIDDEN:
        with site.client(role) as client, pytest.raises(NoPermissionError):
            assert client.execute_command(*command) is None, f"{role} may {command}"
    with site.client("viewer") as client, pytest.raises(ResponseError, match="can't run this command"):
        client.eval("return redis.call('XADD', KEYS[1], '*', 'a', '1')", 1, "{gates}:meter.stream_in")
    with (
        redis.Redis.from_url(site.url("admin").replace("admin:any@", "")) as nobody,
        pytest.raises(AuthenticationError),
    ):
        nobody.ping()


def test_no_role_can_call_what_belongs_to_the_whole_server(site: Site) -> None:
    """Whatever commands a server has that are a danger to others, or that leave code in it."""
    with site.client("admin") as admin:
        names = {
            name.decode()
            for category in ("dangerous", "admin", "scripting")
            for name in admin.execute_command("ACL", "CAT", category)
        }
        allowed = {
            role: {name for name in names if _may(admin, f"gates.{role}", name.split("|"))} - HARMLESS for role in ROLES
        }
    assert len(names) > 60
    assert allowed == {role: {"script|load"} if role == "sync" else set() for role in ROLES}


HARMLESS = {"info", "eval", "evalsha"}
"""What a script does is checked command by command."""


def _may(admin: redis.Redis, user: str, words: list[str]) -> bool:
    """Whether a user may call a command, on whichever keys. Tried with more and more arguments, none a key of his."""
    for given in range(8):
        try:
            answer = str(admin.execute_command("ACL", "DRYRUN", user, *words, *["0"] * given))
        except ResponseError as error:
            assert "wrong number" in str(error), f"{words}: {error}"
        else:
            return "no permissions to run" not in answer
    raise AssertionError(f"{words} cannot be tried")


def test_passwords_are_made_once_and_lie_nowhere_else(site: Site, tmp_path: Path) -> None:
    acl_file = tmp_path / "users" / "users.acl"
    assert acl_file.stat().st_mode & 0o077 == 0
    lines = acl_file.read_text().splitlines()
    assert [line.split()[1] for line in lines] == ["default", *(f"gates.{role}" for role in ROLES)]
    for role in ROLES:
        password = tmp_path / "users" / f"{role}.password"
        assert password.stat().st_mode & 0o077 == 0 and len(password.read_text()) == 64
        assert password.read_text() not in acl_file.read_text()
    before = acl_file.read_text()
    again = subprocess.run([NEW_USERS, "gates", tmp_path / "users"], capture_output=True, text=True, check=False)
    assert again.returncode == 1 and "is there already" in again.stderr and acl_file.read_text() == before
    odd = subprocess.run([NEW_USERS, "a b", tmp_path / "odd"], capture_output=True, text=True, check=False)
    assert odd.returncode == 2 and not (tmp_path / "odd").exists()
