"""What processes say of a Redis whose settings would break the promise."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from dataflow.store.redis import call, connect
from dataflow.testing.servers import RedisServer
from dataflow.up.ports import free_port

pytestmark = pytest.mark.acceptance

FLOW = """
flow: f
connections:
  main: {{redis: "{url}"}}
hub: {{port: {port}}}
streams:
  a.stream_in:
  b.stream_in: {{keep: {{messages: 10}}}}
workers:
  w: {{from: a.stream_in, handler: "steps:handle"}}
edges:
  e: {{kind: s2s, from: a.stream_in, to: b.stream_in}}
"""


@pytest.mark.parametrize("words", [["hub"], ["worker", "w"], ["sync"], ["apply"]], ids=lambda words: words[0])
def test_a_server_that_would_throw_messages_away_is_refused(words: list[str], tmp_path: Path) -> None:
    with RedisServer(settings={"maxmemory-policy": "allkeys-lru"}) as server:
        (tmp_path / "flow.yml").write_text(FLOW.format(url=server.url, port=free_port()), encoding="utf-8")
        (tmp_path / "steps.py").write_text("def handle(message):\n    return None\n", encoding="utf-8")
        command = [sys.executable, "-m", "dataflow", words[0], "flow.yml", *words[1:]]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60)
        client = connect(server.url)
        keys = call(client, "DBSIZE")
        client.close()
    assert (done.returncode, keys) == (2, 0), done.stdout + done.stderr
    assert "maxmemory-policy 'allkeys-lru'" in done.stderr and "Set `maxmemory-policy noeviction`" in done.stderr
