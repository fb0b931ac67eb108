"""The command `dataflow`. Each command lives in a module that is imported only when the command is run.

What every command keeps to: data to stdout, logs and messages to stderr, the exit codes of docs/CLI.md.
"""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import get_args

import click

from dataflow import __version__, log
from dataflow.errors import DataflowError
from dataflow.masking import mask_urls

FAULTS_VARIABLE = "DATAFLOW_FAULTS"
"""Set by tests alone; see dataflow/testing/faultpoints.py."""
EXIT_BUG = 70
EXIT_INTERRUPTED = 130
EXIT_BROKEN_PIPE = 141


@dataclass(frozen=True, slots=True)
class LazyCommand:
    """Where a command is ("module:attribute") and what the overview says about it."""

    target: str
    help: str

    def load(self) -> click.Command:
        """Import the module and return the command. Raises ImportError if a package is missing."""
        module, _, attribute = self.target.partition(":")
        command: click.Command = getattr(import_module(module), attribute)
        if folder := os.environ.get(FAULTS_VARIABLE):
            _install_faults(Path(folder), module.partition(".")[0])
        return command


COMMANDS: Mapping[str, LazyCommand] = {
    "up": LazyCommand("dataflow.cli.up:up", "Run everything of a flow, with embedded servers where no URL is set."),
    "down": LazyCommand("dataflow.cli.up:down", "Stop what `dataflow up` started in this folder."),
    "check": LazyCommand("dataflow.cli.check:check", "Check a flow file and report every problem in it."),
    "graph": LazyCommand("dataflow.cli.check:graph", "Print a flow as a Mermaid graph."),
    "doctor": LazyCommand("dataflow.cli.doctor:doctor", "Check a deployment, and say what has to be changed."),
    "probe": LazyCommand("dataflow.cli.probe:probe", "Tell whether a process on this machine does its work."),
    "apply": LazyCommand("dataflow.cli.apply:apply", "Write the declared readers of a flow to Redis."),
    "status": LazyCommand("dataflow.cli.status:status", "Show streams, readers, edges, processes and alarms."),
    "send": LazyCommand("dataflow.cli.send:send", "Send messages from a file or stdin (JSON lines, CSV) to the hub."),
    "tail": LazyCommand("dataflow.cli.tail:tail", "Print the messages of a stream as they come."),
    "sql": LazyCommand("dataflow.cli.sql:sql", "Ask a flow's warehouse."),
    "ddl": LazyCommand("sync.ddl_command:ddl", "Print the statements that an edge's table needs."),
    "dlq": LazyCommand("dataflow.cli.dlq:dlq", "List, show and replay dead letters."),
    "audit": LazyCommand("dataflow.cli.audit:audit", "Check that no message was lost or doubled."),
    "release": LazyCommand(
        "dataflow.cli.apply:release", "Let go of a reader that the flow no longer has, and of what waits for it."
    ),
    "resume": LazyCommand("dataflow.cli.edges:resume", "Let an edge that has paused itself go on."),
    "run": LazyCommand("dataflow.cli.edges:run", "Run an edge once, now."),
    "task": LazyCommand("scheduler.task_command:task", "List, show, run, pause, resume and remove tasks."),
    "key": LazyCommand("dataflow.cli.key:key", "Make, list and revoke the API keys of a flow."),
    "history": LazyCommand("dataflow.cli.history:history", "Show who changed what, when."),
    "hub": LazyCommand("message_hub.command:hub", "Run the message hub of a flow."),
    "worker": LazyCommand("workers.command:worker", "Run one worker of a flow."),
    "sync": LazyCommand("sync.command:sync", "Run the edges of a flow."),
    "sync-api": LazyCommand("sync.api.command:sync_api", "Run the HTTP API that runs the edges of a flow."),
    "scheduler": LazyCommand("scheduler.command:scheduler", "Run the tasks of a flow, and their HTTP API."),
}


class LazyGroup(click.Group):
    """A click group over a table of lazy commands; its help text imports none of them."""

    def __init__(self, *args: object, table: Mapping[str, LazyCommand] = COMMANDS, **attributes: object) -> None:
        super().__init__(*args, **attributes)  # type: ignore[arg-type]
        self._table = table

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Command names in the order of the table."""
        return list(self._table)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import one command; None if there is no such name."""
        entry = self._table.get(cmd_name)
        return entry.load() if entry else None

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The overview, from the table alone."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, entry.help) for name, entry in self._table.items()])


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, message="dataflow %(version)s")
@click.option(
    "--log-level",
    type=click.Choice(["debug", "info", "warning", "error"]),
    default="info",
    envvar="DATAFLOW_LOG_LEVEL",
    show_envvar=True,
    show_default=True,
    help="What is worth a line on stderr.",
)
@click.option(
    "--log-format",
    type=click.Choice(get_args(log.Format)),
    default="console",
    envvar="DATAFLOW_LOG_FORMAT",
    show_envvar=True,
    show_default=True,
    help="Lines for people or JSON for machines.",
)
def cli(log_level: str, log_format: log.Format) -> None:
    """Declare a net of steps in one flow file; every record arrives once.

    Exit codes are listed in docs/CLI.md.
    """
    log.configure(log_level, log_format)


def main() -> None:
    """Entry point of the console script: run the command line and exit with its code."""
    sys.exit(run(sys.argv[1:]))


def run(arguments: Sequence[str], group: click.Group = cli) -> int:
    """Run one command line in this process and return its exit code. Blocks until the command ends.

    A DataflowError becomes its message on stderr and its `exit_code`. A wrong command line is 2, Ctrl-C 130,
    a reader of our output that went away 141 (silently). The rest are bugs: a traceback on stderr and 70.
    """
    try:
        code = _invoke(group, arguments)
        sys.stdout.flush()
    except BrokenPipeError:
        _discard_stdout()
        return EXIT_BROKEN_PIPE
    except Exception:  # noqa: BLE001 - the outermost frame: shown in full, never swallowed
        _complain(traceback.format_exc())
        return EXIT_BUG
    return code


def _invoke(group: click.Group, arguments: Sequence[str]) -> int:
    try:
        with group.make_context("dataflow", list(arguments)) as ctx:
            group.invoke(ctx)
    except click.exceptions.Exit as stop:
        return stop.exit_code
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except DataflowError as error:
        _complain(f"dataflow: {error}")
        return error.exit_code
    except (click.Abort, KeyboardInterrupt):
        return EXIT_INTERRUPTED
    return 0


def _install_faults(folder: Path, room: str) -> None:
    from dataflow.testing import faultpoints

    faultpoints.install(folder, room)


def _complain(text: str) -> None:
    click.echo(mask_urls(text), err=True)


def _discard_stdout() -> None:
    """Point stdout at nothing, so that the interpreter's own last flush cannot fail too."""
    nothing = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nothing, sys.stdout.fileno())
    os.close(nothing)
