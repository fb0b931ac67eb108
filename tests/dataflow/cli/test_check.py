"""`dataflow check` and `dataflow graph`."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from dataflow.cli.check import check, graph
from dataflow.errors import FlowError
from dataflow.flow.schema import schema_text

GOOD = """\
flow: small
streams:
  a.stream_in:
  a.stream_out:
workers:
  w: {from: a.stream_in, to: a.stream_out, handler: "steps:f"}
edges:
  e: {kind: s2ch, from: a.stream_out, to: warehouse.t}
"""
BAD = GOOD.replace("from: a.stream_in", "form: a.stream_in").replace("warehouse.t", "warehose.t")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project: the current folder, with a flow file and its handlers."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "flow.yml").write_text(GOOD)
    (tmp_path / "bad.yml").write_text(BAD)
    (tmp_path / "steps.py").write_text("raise SystemExit('imported!')")
    return tmp_path


def run(*arguments: str) -> Result:
    return CliRunner().invoke(check, arguments)


@pytest.mark.usefixtures("folder")
def test_a_good_flow_is_one_line() -> None:
    result = run()
    assert (result.exit_code, result.stdout) == (0, "flow.yml: ok: flow 'small', 2 streams, 1 worker, 1 edge\n")


def test_an_address_that_believes_anybody_is_warned_of(folder: Path) -> None:
    url = "rediss://u:hunter2@h/0?ssl_check_hostname=false"
    connections = f'connections: {{main: {{redis: "{url}"}}, warehouse: {{clickhouse: embedded}}}}\n'
    (folder / "flow.yml").write_text(GOOD + connections)
    done = run("flow.yml")
    assert done.exit_code == 0
    assert "warning: connection 'main' turns checks of certificates off (ssl_check_hostname=false)" in done.stderr
    assert "hunter2" not in done.output
    assert "warning" not in run("--json", "flow.yml").output


@pytest.mark.usefixtures("folder")
def test_a_bad_flow_is_a_line_per_problem() -> None:
    result = run("bad.yml")
    assert result.exit_code == 1
    first, second = result.stdout.splitlines()
    assert first.startswith("bad.yml:6:7: F101 unknown key 'form' in workers.w (did you mean 'from'?) - ")
    assert second.startswith("bad.yml:8:43: F202 edges.e.to names the connection 'warehose'")


@pytest.mark.usefixtures("folder")
def test_json_is_a_list_of_problems() -> None:
    result = run("bad.yml", "--json")
    assert result.exit_code == 1
    found = json.loads(result.stdout)
    assert [(one["line"], one["column"], one["code"]) for one in found] == [(6, 7, "F101"), (8, 43, "F202")]
    assert set(found[0]) == {"file", "line", "column", "code", "text", "fix"}
    assert json.loads(run("--json").stdout) == []


def test_a_handler_that_is_not_there_is_a_problem(folder: Path) -> None:
    (folder / "steps.py").unlink()
    result = run()
    assert (result.exit_code, result.stdout.split(" ")[:2]) == (1, ["flow.yml:6:53:", "F501"])


@pytest.mark.usefixtures("folder")
def test_a_file_that_is_not_there_is_a_problem() -> None:
    result = run("none.yml")
    assert (result.exit_code, result.stdout.split(" ")[:2]) == (1, ["none.yml:1:1:", "F001"])


def test_the_schema_is_for_editors() -> None:
    assert run("--schema").stdout == schema_text()


@pytest.mark.usefixtures("folder")
def test_a_graph_is_mermaid_or_text() -> None:
    assert CliRunner().invoke(graph, []).stdout.startswith("flowchart LR\n")
    assert "[w] --> a.stream_out\n" in CliRunner().invoke(graph, ["flow.yml", "--format", "text"]).stdout


@pytest.mark.usefixtures("folder")
def test_a_bad_flow_has_no_graph() -> None:
    result = CliRunner().invoke(graph, ["bad.yml"])
    assert isinstance(result.exception, FlowError)
    assert result.stdout == ""


@pytest.mark.acceptance
def test_the_commands_as_a_user_runs_them(folder: Path) -> None:
    def dataflow(*arguments: str) -> tuple[int, str, str]:
        command = [sys.executable, "-m", "dataflow", *arguments]
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=60, check=False)
        return done.returncode, done.stdout, done.stderr

    assert dataflow("check")[:2] == (0, "flow.yml: ok: flow 'small', 2 streams, 1 worker, 1 edge\n")
    code, out, _ = dataflow("check", "bad.yml")
    assert (code, len(out.splitlines())) == (1, 2)
    code, out, err = dataflow("graph", "bad.yml")
    assert (code, out) == (1, "")
    assert "bad.yml:6:7: F101" in err
    code, out, _ = dataflow("graph")
    assert (code, out.splitlines()[0]) == (0, "flowchart LR")


@pytest.mark.usefixtures("folder")
def test_the_environment_may_be_elsewhere(folder: Path) -> None:
    servers = (
        'connections:\n  main: {redis: "redis://:${P}@h"}\n  warehouse: {clickhouse: "${URL}"}\nhub: {port: "${Q}"}\n'
    )
    (folder / "flow.yml").write_text(GOOD + servers)
    assert run().stdout.count("F012 environment variable") == 3
    told = run("--without-environment")
    assert (told.exit_code, told.stdout) == (
        0,
        "flow.yml: ok: flow 'small', 2 streams, 1 worker, 1 edge; not set here, so not checked: P, URL, Q\n",
    )
    (folder / "flow.yml").write_text(GOOD.replace("steps:f", "stepz:f").replace("warehouse.t", "warehose.t") + servers)
    told = run("--without-environment")
    assert told.exit_code == 1
    assert [line.split()[1] for line in told.stdout.splitlines()] == ["F501", "F202"]
