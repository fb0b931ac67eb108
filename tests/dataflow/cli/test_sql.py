"""`dataflow sql` as a user runs it, against a real warehouse behind its socket."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from dataflow import run_file
from dataflow.process import ProcessId
from dataflow.run_file import RunFile, WarehouseAddress
from sync.warehouse.chdb import ChdbWarehouse
from sync.warehouse.server import WarehouseServer

pytestmark = pytest.mark.acceptance

FLOW = """
flow: water
connections:
  main: {redis: embedded}
  warehouse: {clickhouse: embedded}
streams:
  meter.stream_in: {on: main, schema: {flow: float}}
edges:
  archive: {kind: s2ch, from: meter.stream_in, to: warehouse.scores, create_table: true}
"""
Run = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WarehouseAddress]:
    """A warehouse with a table."""
    with ChdbWarehouse(tmp_path_factory.mktemp("chdb")) as warehouse:
        warehouse.execute("CREATE TABLE scores (rec_id String, flow Float64) ENGINE = MergeTree ORDER BY rec_id")
        warehouse.execute("INSERT INTO scores VALUES ('a', 1.5), ('ü', nan)")
        server = WarehouseServer(warehouse, 0, "key")
        server.start()
        yield WarehouseAddress("127.0.0.1", server.port, "key")
        server.close()


@pytest.fixture
def run(tmp_path: Path, address: WarehouseAddress) -> Run:
    """Run the command in a folder with a flow that `up` seems to be running (by this very process)."""
    (tmp_path / "flow.yml").write_text(FLOW)
    folder = run_file.data_folder(tmp_path / "flow.yml")
    folder.mkdir()
    up = ProcessId.own()
    run_file.write(folder, RunFile(flow="water", up=up, hub="http://127.0.0.1:1", warehouse={"warehouse": address}))

    def run(*arguments: str, stdin: str = "", cwd: Path = tmp_path) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "dataflow", "sql", *arguments]
        environment = os.environ | {"PYTHONSAFEPATH": "1"}
        return subprocess.run(
            command, input=stdin, cwd=cwd, env=environment, capture_output=True, text=True, timeout=60, check=False
        )

    return run


def test_a_question_is_answered_as_csv_where_nobody_looks(run: Run) -> None:
    done = run("SELECT * FROM scores ORDER BY rec_id")
    assert (done.returncode, done.stdout, done.stderr) == (0, '"rec_id","flow"\n"a",1.5\n"ü",nan\n', "")


@pytest.mark.parametrize(
    ("form", "output"),
    [
        (["--format", "tsv"], "rec_id\tflow\na\t1.5\n"),
        (["--format", "json"], '{"rec_id":"a","flow":1.5}\n'),
        (["--json"], '{"rec_id":"a","flow":1.5}\n'),
        (["--format", "table"], "┌─rec_id─┬─flow─┐\n│ a      │  1.5 │\n└────────┴──────┘\n"),
    ],
)
def test_the_form_can_be_chosen(form: list[str], output: str, run: Run) -> None:
    assert run("SELECT * FROM scores WHERE flow > 1", *form).stdout == output


@pytest.mark.parametrize("arguments", [[], ["-"]])
def test_the_statement_may_come_from_stdin(arguments: list[str], run: Run) -> None:
    done = run(*arguments, "--json", stdin="SELECT count() AS n\nFROM scores -- all of them\n")
    assert json.loads(done.stdout) == {"n": 2}


def test_the_flow_may_be_elsewhere(run: Run, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    assert run("SELECT 1", "-f", str(tmp_path / "flow.yml"), cwd=elsewhere).returncode == 0
    assert "flow.yml" in run("SELECT 1", cwd=elsewhere).stderr


def test_an_error_is_one_line_and_code_2(run: Run) -> None:
    done = run("SELECT nothing FROM scores")
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.startswith("dataflow: Unknown expression identifier `nothing`")
    assert done.stderr.count("\n") == 1


def test_changing_the_warehouse_must_be_asked_for(run: Run) -> None:
    done = run("INSERT INTO scores VALUES ('b', 2)")
    assert (done.returncode, done.stderr) == (
        2,
        "dataflow: only statements that read are run here; `dataflow sql --write` runs others too\n",
    )
    assert run("--write", "CREATE TABLE more (n UInt8) ENGINE = MergeTree ORDER BY n").returncode == 0
    assert run("SELECT count() AS n FROM more").stdout == '"n"\n0\n'


def test_nothing_to_ask_is_told(run: Run) -> None:
    assert run(stdin="").returncode == 2
    assert "there is no statement" in run(stdin="  \n").stderr


def test_connections_are_chosen_by_name(run: Run, tmp_path: Path) -> None:
    flow = tmp_path / "flow.yml"
    flow.write_text(FLOW.replace("streams:", "  second: {clickhouse: embedded}\nstreams:"))
    assert run("SELECT 1", "--connection", "warehouse").returncode == 0
    assert "choose one with --connection warehouse|second" in run("SELECT 1").stderr
    assert "no ClickHouse connection 'third', but warehouse, second" in run("SELECT 1", "--connection", "third").stderr


def test_a_flow_that_does_not_run_is_told_with_the_way_out(run: Run, tmp_path: Path) -> None:
    (tmp_path / ".dataflow" / "run.json").unlink()
    done = run("SELECT 1")
    assert done.returncode == 3
    assert "`dataflow up` is not running flow 'water'" in done.stderr


@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_large_results_are_printed_whole(unbuffered: str, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONUNBUFFERED", unbuffered)
    done = run("SELECT number FROM numbers(1000000)", "--format", "tsv")
    assert done.stdout.count("\n") == 1_000_001


@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_reader_that_goes_away_is_no_error(
    unbuffered: str, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONUNBUFFERED", unbuffered)
    question = "SELECT number FROM numbers(1000000)"
    pipe = f"{sys.executable} -m dataflow sql '{question}' | head -n 1; echo ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", pipe], cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)
    assert done.stdout.split() == ['"number"', "141"]
    assert done.stderr == ""
