"""Secrets are planted everywhere, everything is run and much is refused, and all that comes out is searched."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import httpx
import pytest
from pymongo import MongoClient

from dataflow.testing.mongo import MongoServer
from dataflow.testing.servers import ClickHouseServer, RedisServer
from dataflow.up.ports import free_port
from tests.acceptance.project import Project, eventually

pytestmark = pytest.mark.acceptance

REDIS, FILED, WRONG, ASKED, BROKER, CAUGHT, STORED = (
    f"canary{n}8d1f0c" for n in ("redis", "filed", "wrong", "asked", "broker", "caught", "stored")
)
MONGO = "canarymongo8d1f0c"
CANARIES = (
    REDIS,
    FILED,
    WRONG,
    ASKED,
    BROKER,
    CAUGHT,
    STORED,
    MONGO,
    ClickHouseServer.WRITER_PASSWORD,
    "p%40ss%3Aw%2Frd",
)

FLOW = """
flow: aviary
connections:
  main:      {redis: "${MAIN}"}
  far:       {redis: "redis://filed:${file:%s}@127.0.0.1:%d/0"}
  warehouse: {clickhouse: "${STORE}"}
  tasks:     {mongo: "${TASKS}"}
streams:
  meter.stream_in:
    accepts: {task_for: t, function_type: f}
    schema: {rec_id: str, task_for: str, function_type: str, n: int}
  meter.stream_out: {schema: {rec_id: str, twice: int}}
  away.stream_in:   {on: far, schema: {rec_id: str, twice: int}}
workers:
  double: {from: meter.stream_in, to: meter.stream_out, handler: "steps:double", max_attempts: 1}
edges:
  there:   {kind: s2s, from: meter.stream_out, to: away.stream_in, task: {second: "*"}}
  archive: {kind: s2ch, from: away.stream_in, to: warehouse.doubled, create_table: true, task: external}
"""
STEPS = """
import logging, os

def double(message):
    if message["n"] == 13:
        raise ConnectionError("cannot reach " + os.environ["MAIN"] + " nor redis://:" + os.environ["WORD"] + "@h/0")
    logging.getLogger("steps").warning("connected to %s", os.environ["MAIN"])
    return {"rec_id": message["rec_id"], "twice": message["n"] * 2}
"""


class Site:
    """The flow `aviary` with secrets in all its connections, and everything that was said about it."""

    def __init__(
        self, folder: Path, near: RedisServer, far: RedisServer, clickhouse: ClickHouseServer, mongo: MongoServer
    ) -> None:
        (folder / "secrets").mkdir()
        (folder / "flow").mkdir()
        secret = folder / "secrets" / "far"
        secret.write_text(FILED + "\n")
        for server, user, password in ((near, "main", REDIS), (far, "filed", FILED)):
            with server.client() as client:
                client.execute_command("ACL", "SETUSER", user, "on", f">{password}", "~*", "&*", "+@all")
        self.servers = (near, far)
        self.project = Project(folder / "flow", FLOW % (secret, far.port), STEPS)
        self.heard: list[tuple[str, str]] = []
        self.variables = {
            "MAIN": near.url.replace("://", f"://main:{REDIS}@"), "STORE": clickhouse.writer_url,
            "TASKS": mongo.url, "WORD": CAUGHT, "DATAFLOW_LOG_LEVEL": "debug",
        }  # fmt: skip

    def command(self, *arguments: str, **changed: str) -> str:
        """Run a command, remember what it says, and give its stdout."""
        done = subprocess.run(
            [sys.executable, "-P", "-m", "dataflow", *arguments], cwd=self.project.folder, capture_output=True,
            text=True, timeout=120, env={**os.environ, **self.variables, **changed}, check=False,
        )  # fmt: skip
        assert done.returncode != 70, done.stderr
        self.heard.append((f"{arguments} {sorted(changed)}", f"{done.returncode}\n{done.stdout}\n{done.stderr}"))
        return done.stdout

    def ask(self, method: str, url: str, headers: Mapping[str, str], body: Any = None) -> httpx.Response:
        """Send a request and remember the answer."""
        answer = httpx.request(method, url, headers=headers, json=body, timeout=90, trust_env=False)
        self.heard.append((f"{method} {url}", f"{answer.status_code} {answer.headers} {answer.text}"))
        assert answer.status_code < 500, answer.text
        return answer

    def leaks(self, secrets: tuple[str, ...]) -> list[str]:
        """Where one of the secrets can be seen."""
        assert min(map(len, secrets)) > 8, "so short a secret is found in texts that do not leak it"
        found = [
            f"{where}: {line[:600]}" for where, text in self.heard for line in text.splitlines()
            if any(secret in line for secret in secrets)
        ]  # fmt: skip
        folders = [self.project.folder, *(server.folder for server in self.servers)]
        found += [
            f"{file}: {_lines(file, secrets)}" for folder in folders for file in folder.rglob("*")
            if file.is_file() and _lines(file, secrets)
        ]  # fmt: skip
        return found + [str(one) for one in Path("/proc").glob("[0-9]*/cmdline") if _lines(one, secrets)]


def _lines(file: Path, secrets: tuple[str, ...]) -> list[bytes]:
    try:
        lines = file.read_bytes().splitlines()
    except OSError:  # a process that has just ended, a file that was just replaced
        return []
    return [line[:600] for line in lines if any(secret.encode() in line for secret in secrets)]


@pytest.fixture
def site(tmp_path: Path, own_clickhouse: ClickHouseServer, own_mongo: MongoServer) -> Iterator[Site]:
    with RedisServer() as near, RedisServer() as far:
        site = Site(tmp_path, near, far, own_clickhouse, own_mongo)
        yield site
        site.command("down")


def test_no_secret_is_seen_anywhere(site: Site) -> None:
    for words in (("check",), ("status",), ("audit",), ("doctor",)):  # nothing runs yet
        site.command(*words)
    token = site.command("key", "new", "all", "--scope", "admin").strip()
    produce = site.command("key", "new", "gateway", "--scope", "produce").strip()
    keys = tuple(text.split("_", 2)[2] for text in (token, produce))  # a secret may have underscores of its own
    site.heard = [(where, text) for where, text in site.heard if "'new'" not in where]  # the one place that shows keys
    site.variables["DATAFLOW_API_KEY"] = token
    site.command("up", "-d", "--hub-port", "0")
    _send(site)
    _call(site, token, produce)
    _write_documents(site, token)
    _look(site)
    _mistake(site)
    assert site.project.run.ready
    assert (site.project.folder / ".dataflow" / "run.json").stat().st_mode & 0o077 == 0
    leaks = site.leaks((*CANARIES, *keys))
    assert not leaks, "\n".join(leaks)


def test_the_search_finds_what_is_there(site: Site) -> None:
    site.heard.append(("said", f"the word is {WRONG}"))
    (site.project.folder / "leak.log").write_text(f"line\nredis://:{ASKED}@h\n")
    with site.servers[1].client() as client:
        client.set("k", BROKER)
    assert len(site.leaks(CANARIES)) == 3
    child = subprocess.Popen([sys.executable, "-c", "input()", CAUGHT], stdin=subprocess.PIPE)
    try:
        eventually("its command line is there", lambda: len(site.leaks(CANARIES)) == 4)
    finally:
        child.kill()
        child.communicate()


def _send(site: Site) -> None:
    rows = site.project.folder / "rows.ndjson"
    rows.write_text(
        "".join(f'{{"rec_id": "r{n}", "task_for": "t", "function_type": "f", "n": {n}}}\n' for n in range(30))
    )
    site.command("send", "rows.ndjson")
    site.command(
        "send", "rows.ndjson", "--hub", f"http://u:{ASKED}@127.0.0.1:{free_port()}", "--patience", "0", "--again"
    )
    eventually("messages are away", lambda: _length(site, 1, "away.stream_in") == 29)
    eventually("one is dead", lambda: _length(site, 0, "meter.stream_in:dead:double") == 1)


def _length(site: Site, server: int, stream: str) -> int:
    with site.servers[server].client() as client:
        return int(client.xlen("{aviary}:" + stream))


def _call(site: Site, token: str, produce: str) -> None:
    """Talk to the services, with what they take and with what they refuse."""
    run = site.project.run
    admin, low = {"Authorization": f"Bearer {token}"}, {"X-API-Key": produce}
    stranger = {"Authorization": f"Bearer dfk_0b7c5d2e91aa_{WRONG}"}
    for base in (run.hub, run.sync, run.scheduler):
        for headers in (admin, low, stranger, {}):
            for path in (
                "/readyz",
                "/version",
                "/queue_size_metrics",
                "/get_jobs/",
                "/edges",
                "/messages/none",
                "/none",
            ):
                site.ask("GET", base + path, headers)
    asked = site.ask("POST", f"{run.sync}/edges/archive/run", admin, {}).text.strip()
    site.ask("GET", f"{run.sync}/get_result/{asked}?wait_s=30", admin)
    hidden = f"http://u:{ASKED}@127.0.0.1:{free_port()}/"
    for body in (
        {"source_redis_agent_host": hidden, "source_stream": "meter.stream_out", "target_stream": "away.stream_in"},
        {"target_connection_hash": hidden, "edge": "there"}, {"target_ch_pwd": ASKED, "edge": "archive"},
        {"edge": "there", "password": ASKED}, {"edge": hidden}, {"edge": "there", "max_exec_cnt": hidden},
        {hidden: 1},
    ):  # fmt: skip
        for path in ("/s2s/", "/s2ch/"):
            assert site.ask("POST", run.sync + path, admin, body).status_code in (404, 422)
    task = {"task_id": "t", "task_name": "make_a_request", "hour": "3", "task_kwargs": {"url": hidden, "method": "GET"}}
    site.ask("POST", f"{run.scheduler}/publish_a_task/", admin, task)
    site.ask("POST", f"{run.scheduler}/run_a_task/", admin, task)


def _write_documents(site: Site, token: str) -> None:
    """Documents of tasks by programs that put their secrets there; the jobs take them, refuse them or fail on them."""
    url = f"http://u:{STORED}@127.0.0.1:{free_port()}/"
    secrets = {
        "password": STORED, "headers": {"Authorization": f"Bearer {STORED}", "X-API-Key": STORED, "Cookie": STORED},
        "kwargs": {"target_ch_pwd": STORED, "url": url}, "args": [["token", STORED], url, {"client_secret": [STORED]}],
    }  # fmt: skip
    written: dict[str, dict[str, Any]] = {
        "request": {"job_name": "make_a_request", "task_kwargs": {"url": url, **secrets}},
        "asking": {
            "job_name": "make_a_request",
            "task_kwargs": {"url": f"http://h/?api-key={STORED}&%74oken={STORED}"},
        },
        "edge": {"job_name": "s2s", "task_kwargs": {"edge": "there", **secrets}},
        "strange": {"job_name": "s2s", "task_kwargs": {"edge": secrets}},
        "unknown": {"job_name": "nobody:knows", "task_kwargs": secrets},
        "text": {"job_name": "s2s", "task_kwargs": f"password={STORED}"},
        "listed": {"job_name": "s2s", "task_kwargs": [["password", STORED]]},
        "timed": {"job_name": "s2s", "task_kwargs": {"edge": "there"}, "interval_para": {"interval": [secrets]}},
        "untimed": {"job_name": "s2s", "task_kwargs": {"edge": "there"}, "interval_para": f"password={STORED}"},
    }
    every = {"interval_para": {"second": "*"}, "machine": "aviary", "set_to_status": "running"}
    client: MongoClient[dict[str, Any]] = MongoClient(site.variables["TASKS"])
    with client:
        for name, fields in written.items():
            client["flask_aps"]["task_table"].insert_one({**every, "task_id": name, **fields})
        runs = client["flask_aps"]["task_run"]
        eventually("one has run", lambda: runs.find_one({"_id": "aviary.edge", "runs": {"$gt": 0}}), 30)
        eventually("all were looked at", lambda: runs.count_documents({"_id": "aviary.untimed"}), 30)
    for path in ("/get_jobs/", "/get_jobs_status/", "/readyz"):
        site.ask("GET", site.project.run.scheduler + path, {"Authorization": f"Bearer {token}"})
    for name in written:
        assert name in site.command("task", "show", name)
        assert name in site.command("task", "show", name, "--json")
        site.command("task", "run", name, "--timeout", "2")
    assert "***" in site.command("task", "ls", "--json")


def _look(site: Site) -> None:
    """Every command that tells something."""
    for words in (
        ("check",), ("check", "--json"), ("graph",), ("apply",), ("status",), ("status", "--json"), ("audit",),
        ("audit", "--json"), ("doctor",), ("doctor", "--json"), ("sql", "SELECT * FROM doubled"),
        ("sql", "SELECT nonsense"), ("ddl", "archive"), ("dlq", "ls"), ("dlq", "ls", "double", "--json"),
        ("dlq", "replay", "double", "--all"), ("tail", "meter.stream_out", "--no-follow", "--from-start", "--meta"),
        ("key", "ls"), ("history",), ("task", "ls"), ("probe", "hub"), ("probe", "sync"), ("resume", "there"),
    ):  # fmt: skip
        site.command(*words)


def _mistake(site: Site) -> None:
    """Addresses that lead nowhere, are refused, or are none."""
    away, near = free_port(), site.servers[0].port
    redis = [
        f"redis://main:{WRONG}@127.0.0.1:{near}/0", f"redis://main:{WRONG}@127.0.0.1:{away}/0",
        f"redis://main:{WRONG}@127.0.0.1:port/0", f"redis://main:a/{WRONG}@127.0.0.1:{near}/0",
        f"redis://main:a#{WRONG}@127.0.0.1:{near}/0", f"redis://main:a?{WRONG}@127.0.0.1:{near}/0",
        f"redis://main:a b{WRONG}@127.0.0.1:{near}/0", f"redis://127.0.0.1:{away}/0?password={WRONG}",
        f"rediss://main:{WRONG}@127.0.0.1:{near}/0", f"main:{WRONG}@127.0.0.1", f"http://main:{WRONG}@127.0.0.1/",
        f"redis://main:{WRONG}@127.0.0.1:{near}/0?nonsense={WRONG}", f"redis://main:{WRONG}@127.0.0.1:{near}/{WRONG}",
    ]  # fmt: skip
    for url in redis:
        site.command("doctor", MAIN=url)
    for words in (("check",), ("status",), ("audit",), ("apply",)):
        site.command(*words, MAIN=redis[0])
        site.command(*words, MAIN=redis[2])
    stores = [
        f"clickhouse://writer:{WRONG}@127.0.0.1:{away}", site.variables["STORE"].replace("p%40ss", WRONG),
        f"clickhouse://writer:a/{WRONG}@127.0.0.1:{away}", f"clickhouse://writer:{WRONG}@127.0.0.1:{away}?x={WRONG}",
    ]  # fmt: skip
    for url in stores:
        site.command("doctor", STORE=url)
    for words in (("sql", "SELECT 1"), ("ddl", "archive"), ("audit",)):
        site.command(*words, STORE=stores[1])
    mongos = [
        f"mongodb://tasks:{MONGO}@127.0.0.1:{away}/?serverSelectionTimeoutMS=300",
        f"mongodb://tasks:a/{MONGO}@127.0.0.1:{away}/",
        f"mongodb://tasks:a@{MONGO}@127.0.0.1:{away}/", f"mongodb://tasks:{MONGO}@127.0.0.1:{away}/?tls={MONGO}",
    ]  # fmt: skip
    for url in mongos:
        site.command("doctor", TASKS=url)
    site.command("task", "ls", TASKS=mongos[0])
    for url in (f"redis://main:{BROKER}@127.0.0.1:{away}/1", f"amqp://u:{BROKER}@h//", f"redis://u:a/{BROKER}@h:x/1"):
        site.command("doctor", DATAFLOW_BROKER_URL=url)
    site.command("status", DATAFLOW_API_KEY=WRONG)
    site.command("send", "rows.ndjson", DATAFLOW_API_KEY=WRONG)
