"""The examples, run as their page says, show what their page says."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.acceptance.project import command, environment

pytestmark = pytest.mark.acceptance

EXAMPLES = Path(__file__).parents[2] / "examples"
PAGE = (EXAMPLES / "README.md").read_text(encoding="utf-8")
SCRIPT = re.compile(r"^\$ python (examples/(\w+)/\S+.*)\n((?:(?!\$|```).*\n)*)", re.MULTILINE)
GRAPH = re.compile(r"\[`(\w+)/`\].*?```mermaid\n(.*?)```", re.DOTALL)
TOLD = {example: (script, output) for script, example, output in SCRIPT.findall(PAGE)}


@pytest.fixture
def copy(tmp_path: Path) -> Iterator[Path]:
    """All examples in a folder of the test's own; what runs at the end is stopped."""
    copied = tmp_path / "examples"
    shutil.copytree(EXAMPLES, copied, ignore=shutil.ignore_patterns(".dataflow", "__pycache__"))
    yield copied
    for flow in copied.glob("*/flow.yml"):
        if (flow.parent / ".dataflow").exists():
            command(tmp_path, "down", str(flow))


def python(folder: Path, words: str) -> subprocess.CompletedProcess[str]:
    """Run `python ...` in a folder and wait."""
    return subprocess.run(
        [sys.executable, *shlex.split(words)],
        cwd=folder, capture_output=True, text=True, timeout=240, env=environment(), check=False,
    )  # fmt: skip


def masked(output: str) -> str:
    """Without what differs from run to run: the port of the hub."""
    return re.sub(r"127\.0\.0\.1:\d+", "127.0.0.1:24100", output)


@pytest.mark.parametrize("example", sorted(TOLD))
def test_it_shows_what_its_page_says(copy: Path, example: str) -> None:
    script, output = TOLD[example]
    flow = f"examples/{example}/flow.yml"
    assert f"$ dataflow up -d {flow}\n$ python {script}\n" in PAGE
    up = command(copy.parent, "up", "-d", "--hub-port", "0", flow)
    assert up.returncode == 0, up.stderr
    done = python(copy.parent, script)
    assert done.returncode == 0, done.stdout + done.stderr
    assert masked(done.stdout) == output
    audit = command(copy.parent, "audit", "-f", flow)
    assert audit.returncode == 0, audit.stdout


DIES = """
import os
from pymongo.collection import Collection
import cooling, fill
Collection.delete_many = lambda self, chosen: os._exit(9) if chosen["moving"] != {"$exists": False} else None
with cooling.hot_store(cooling.resolve(cooling.load(cooling.FLOW))) as client:
    fill.fill(cooling.readings_of(client))
cooling.move_old(fill.KEPT_HOT_H)
"""


def test_a_job_that_dies_between_two_databases_has_moved_each_reading_once(copy: Path) -> None:
    flow = "examples/sync/flow.yml"
    assert command(copy.parent, "up", "-d", "--hub-port", "0", flow).returncode == 0
    (copy / "sync" / "dies.py").write_text(DIES)
    assert python(copy.parent, "examples/sync/dies.py").returncode == 9, "sent, and not deleted"
    done = python(copy.parent, "examples/sync/fill.py")
    assert done.returncode == 0, done.stdout + done.stderr
    found = command(
        copy.parent, "sql", "-f", flow, "--json", "SELECT count() AS n, uniqExact(rec_id) AS ids FROM readings"
    )
    assert json.loads(found.stdout) == {"n": 1000, "ids": 1000}, "500 of the run that died, 500 of the other"


def test_the_demo_delivers_every_reading_once(copy: Path) -> None:
    done = python(copy.parent, "examples/water/demo.py")
    assert done.returncode == 0, done.stdout + done.stderr
    last = done.stdout.splitlines()[-1]
    assert last == "demo: sent=1268 delivered=1268 dead=0 lost=0 duplicates=0" and last in PAGE
    assert (copy / "water" / "anomalies.png").stat().st_size > 10_000


def test_every_graph_of_the_page_is_that_of_the_flow() -> None:
    graphs = dict(GRAPH.findall(PAGE))
    assert set(graphs) == {flow.parent.name for flow in EXAMPLES.glob("*/flow.yml")}
    for example, graph in graphs.items():
        done = command(EXAMPLES, "graph", f"{example}/flow.yml")
        assert done.returncode == 0 and done.stdout == graph, example


def test_without_a_running_flow_a_script_says_what_to_do(copy: Path) -> None:
    for script, _ in TOLD.values():
        done = python(copy.parent, script)
        assert done.returncode == 1 and "dataflow up" in done.stderr and "Traceback" not in done.stderr
