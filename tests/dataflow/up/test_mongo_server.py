"""The embedded MongoDB: one process per folder, whatever a killed one left."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pymongo
import pytest

from dataflow.testing.mongo import MongoServer
from dataflow.up import mongo_server
from dataflow.up.ports import free_port

pytestmark = pytest.mark.integration


def test_documents_survive_a_kill() -> None:
    with MongoServer() as server, pymongo.MongoClient[dict[str, int]](server.url) as client:
        client["db"]["c"].insert_one({"n": 1})
        server.kill()
        server.start()
        assert [one["n"] for one in client["db"]["c"].find()] == [1]


def test_a_folder_is_served_by_one_process(tmp_path: Path) -> None:
    handle = mongo_server.lock(tmp_path)
    assert handle >= 0
    done = subprocess.run(
        mongo_server.command(tmp_path, free_port()), capture_output=True, text=True, timeout=30, check=False
    )
    assert done.returncode == 1 and "another process serves" in done.stderr


def test_a_pid_file_of_a_killed_one_does_not_matter() -> None:
    with MongoServer() as server:
        server.kill()
        (server.folder / "pid").write_text("1")
        server.start()


def test_without_the_extra_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(mongo_server, "find_spec", lambda _: None)
    with pytest.raises(mongo_server.NoMongoServer, match="extra `embedded`"):
        mongo_server.command(tmp_path, 1)
